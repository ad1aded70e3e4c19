//! Kills at random moments under load.

use std::io::Write;
use std::time::Duration;

use driver_types::{ContainerDriver, ContainerDriverExt};
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Bench;
use crate::app::Session;
use crate::story::Story;
use crate::tracer::{application, is_shim, listen};
use crate::workload::{Workload, has_limits};

/// Lifecycles at the same time.
const WORKERS: u64 = 4;
/// The longest time until a kill.
const LONGEST_MS: u64 = 400;

/// What the application does: workers that make, use and remove containers until it is killed.
pub(crate) async fn work(session: &Session, seed: u64) {
    let workers = (0..WORKERS).map(|worker| async move {
        let mut rng = Rng::with_seed(seed.wrapping_mul(WORKERS).wrapping_add(worker));
        for number in 0.. {
            lifecycle(session, &mut rng, &format!("{worker}x{number}")).await;
        }
    });
    futures_util::future::join_all(workers).await;
}

async fn lifecycle(session: &Session, rng: &mut Rng, serial: &str) {
    let (lines, code) = (rng.u32(1..300), rng.u8(0..100));
    let workload = if rng.bool() {
        Workload::ends(lines, code)
    } else {
        Workload::waits(lines, code)
    };
    let name = workload.name(serial);
    let Some(id) = session.create(&workload.config(&name)).await else {
        return;
    };
    if session.start(&name, &id).await.is_some() {
        if workload.ends {
            if session.wait(&name, &id).await.is_some() {
                session.ended(workload, &name, &id).await;
            }
        } else {
            session.ready(workload, &name, &id).await;
            used(session, rng, workload, &name, &id).await;
        }
    }
    session.force(&name, &id).await;
}

async fn used(session: &Session, rng: &mut Rng, workload: Workload, name: &str, id: &str) {
    if rng.bool() {
        session.exec(name, id, rng.i32(0..100)).await;
    }
    if rng.bool() && has_limits() {
        session
            .step("pause", name, session.driver.pause_container(id))
            .await;
        session
            .step("resume", name, session.driver.resume_container(id))
            .await;
    }
    if rng.bool() && session.stop(name, id).await.is_some() {
        session.ended(workload, name, id).await;
    }
}

/// `DRIVER_CRASH_KILLS` kills; `DRIVER_CRASH_SEED` repeats the choices of an earlier run.
pub(crate) fn run(bench: &Bench) -> Vec<String> {
    let kills = crate::number("DRIVER_CRASH_KILLS", 10);
    let seed = crate::number(
        "DRIVER_CRASH_SEED",
        usize::try_from(fastrand::u32(..)).unwrap_or(0),
    ) as u64;
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let mut judge = crate::judge::Judge::new(bench.judge.state.clone());
    let mut complaints = Vec::new();
    let (mut of_application, mut of_shims) = (0, 0);
    for round in 0..=kills {
        let killed = kill_one(&mut rng, &judge.state, round as u64).unwrap();
        let story = Story::of(&killed.said);
        if round == 0 {
            // What stays for good is learned from the first, which counts only for its containers; and it may have made none.
            bench.runtime.block_on(async {
                let driver = crate::app::open(&judge.state).unwrap();
                driver.recover().await.unwrap();
                let workload = Workload::ends(1, 0);
                let config = workload.config(&workload.name("first"));
                let made = driver.run_container(&config).await.unwrap();
                driver.wait_exit(&made.id).await.unwrap();
                crate::judge::clean(&driver).await.unwrap();
            });
            judge.learn();
            continue;
        }
        of_application += usize::from(killed.application);
        of_shims += killed.shims;
        let found = bench.runtime.block_on(judge.complaints(&story, killed.shims > 0));
        for what in found {
            let complaint = format!("seed {seed}, round {round}: {what}\n    {}", story.tail());
            println!("{complaint}");
            complaints.push(complaint);
        }
    }
    println!(
        "{kills} rounds: {of_application} applications and {of_shims} shims killed, {} complaints",
        complaints.len()
    );
    complaints
}

struct Killed {
    said: String,
    application: bool,
    shims: usize,
}

fn kill_one(rng: &mut Rng, state: &std::path::Path, seed: u64) -> std::io::Result<Killed> {
    let mut child = application("work", state, seed)?;
    let said = listen(&mut child);
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"\n")?;
    }
    std::thread::sleep(Duration::from_micros(rng.u64(1000..LONGEST_MS * 1000)));
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut shims = 0;
    // In a third of the rounds shims go first, and the application lives on for a moment; in a third all go at once.
    let kind = rng.u8(0..3);
    if kind > 0 {
        let found = shims_of(pid);
        if kind == 2 {
            child.kill()?;
        }
        shims = found
            .iter()
            .filter(|shim| kill(**shim, Signal::SIGKILL).is_ok())
            .count();
        std::thread::sleep(Duration::from_micros(if kind == 1 {
            rng.u64(0..100_000)
        } else {
            0
        }));
    }
    let _ = child.kill();
    child.wait()?;
    let said = said.recv().map_err(std::io::Error::other)?;
    Ok(Killed {
        said,
        application: true,
        shims,
    })
}

/// The shims of an application: its fork server, and what that has forked.
fn shims_of(application: Pid) -> Vec<Pid> {
    let servers = children(application);
    let forked: Vec<Pid> = servers.iter().flat_map(|server| children(*server)).collect();
    servers
        .into_iter()
        .chain(forked)
        .filter(|pid| is_shim(*pid))
        .collect()
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .map(Pid::from_raw)
                .collect::<Vec<_>>()
        })
        .collect()
}
