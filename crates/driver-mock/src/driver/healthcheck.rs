//! Health checks, run inside the container.

use std::sync::Arc;
use std::time::Duration;

use driver_state::HealthTracker;
use driver_types::{HealthCheckConfig, HealthCheckRun, ProcessFrame, Signal};
use tokio::sync::{mpsc, watch};

use super::launch::{LaunchError, PROCESS_MEMORY, execute, find_program};
use crate::fs::View;
use crate::kernel::{Context, End, Output, Privileges, ProcessSpec, Role, Stdio};
use crate::world::Sandbox;

/// Begins the checks of a run, where the config wants some.
pub(super) fn begin(sandbox: &Sandbox, run: u64) {
    let Some(config) = sandbox.container.config.healthcheck.clone() else {
        return;
    };
    let argv: Vec<String> = match config.test.split_first() {
        Some((kind, argv)) if kind == "CMD" => argv.to_vec(),
        Some((kind, line)) if kind == "CMD-SHELL" => ["/bin/sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain(line.iter().cloned())
            .collect(),
        _ => return,
    };
    let tracker = HealthTracker::new(&config, sandbox.world.clock.now_ms());
    sandbox.set_health(tracker.health(), None);
    tokio::spawn(watch_over(sandbox.clone(), run, config, argv.into(), tracker));
}

async fn watch_over(
    sandbox: Sandbox,
    run: u64,
    config: HealthCheckConfig,
    argv: Arc<[String]>,
    mut tracker: HealthTracker,
) {
    let interval = Duration::from_millis(config.interval_ms);
    loop {
        tokio::select! {
            biased;
            _ = sandbox.container.output.runs.wait_for_end(run) => return,
            () = sandbox.world.clock.sleep(interval) => {}
        }
        let started_at = sandbox.world.clock.now_ms();
        let (exit_code, output) = check(&sandbox, run, &argv, Duration::from_millis(config.timeout_ms)).await;
        if !is_running(&sandbox, run) {
            return;
        }
        let change = tracker.record(HealthCheckRun {
            started_at,
            finished_at: sandbox.world.clock.now_ms(),
            exit_code,
            output,
        });
        sandbox.set_health(tracker.health(), change);
    }
}

fn is_running(sandbox: &Sandbox, run: u64) -> bool {
    sandbox.with_kernel(|kernel, _| kernel.run == run && kernel.is_alive())
}

/// Runs one check: its exit code and what it printed; -1 for one that timed out or could not run.
async fn check(sandbox: &Sandbox, run: u64, argv: &Arc<[String]>, timeout: Duration) -> (i32, String) {
    let (sender, mut frames) = mpsc::channel(16);
    let (exited, mut exit) = watch::channel(None);
    let exec = sandbox.next_exec();
    if let Err(error) = spawn(sandbox, argv, exec, sender, exited) {
        return (-1, error.message);
    }
    let mut output = Vec::new();
    let finished = sandbox
        .world
        .clock
        .limit(Some(timeout), async {
            loop {
                tokio::select! {
                    biased;
                    Some(frame) = frames.recv() => keep(&mut output, frame),
                    Ok(end) = async { exit.wait_for(Option::is_some).await.map(|end| *end) } => {
                        while let Ok(frame) = frames.try_recv() {
                            keep(&mut output, frame);
                        }
                        return end;
                    }
                }
            }
        })
        .await
        .flatten();
    if finished.is_none() {
        sandbox.with_kernel(|kernel, now| {
            if kernel.run == run {
                kernel.signal_exec(now, exec, Signal::KILL);
            }
        });
    }
    let output = String::from_utf8_lossy(&output).into_owned();
    match finished {
        Some(end) => (end.exit_code(), output),
        None => (
            -1,
            format!("the check took longer than {} ms\n{output}", timeout.as_millis()),
        ),
    }
}

fn keep(output: &mut Vec<u8>, frame: ProcessFrame) {
    if let ProcessFrame::Stdout { data } | ProcessFrame::Stderr { data } = frame
        && output.len() < HealthTracker::MAX_OUTPUT
    {
        output.extend_from_slice(&data);
    }
}

fn spawn(
    sandbox: &Sandbox,
    argv: &Arc<[String]>,
    exec: u64,
    sender: mpsc::Sender<ProcessFrame>,
    exited: watch::Sender<Option<End>>,
) -> Result<(), LaunchError> {
    let failed = |message: &str| LaunchError {
        exit_code: None,
        message: message.to_owned(),
    };
    let main = sandbox.with_kernel(|kernel, _| {
        let main = kernel.main;
        let mounts = kernel.mounts();
        let run = kernel.run;
        kernel.living(main).map(|process| {
            (
                mounts,
                run,
                Arc::clone(&process.privileges),
                Arc::clone(&process.env),
                Arc::clone(&process.cwd),
            )
        })
    });
    let (mounts, run, privileges, env, cwd) = main.ok_or_else(|| failed("the container does not run"))?;
    let view = View {
        mounts: &mounts,
        who: &privileges.credentials,
        cwd: &cwd,
        umask: 0o022,
        now: 0,
    };
    let path = env.get("PATH").map_or("", String::as_str);
    let image = &sandbox.container.config.image;
    let (program, mode, owner) = find_program(&sandbox.world, image, &view, argv, path)?;
    let privileges: Privileges = privileges.after_exec(mode, owner);
    let spec = ProcessSpec {
        parent: 0,
        role: Role::Program,
        argv: Arc::clone(argv),
        env,
        cwd,
        privileges: Arc::new(privileges),
        stdio: Stdio {
            output: Output::Channel(sender),
            ..Stdio::null()
        },
        exec,
        dispositions: Default::default(),
        memory: PROCESS_MEMORY,
    };
    let pid = sandbox.with_kernel(|kernel, now| {
        let pid = kernel.spawn(now, spec)?;
        if let Some(process) = kernel.living(pid) {
            process.exited = Some(exited);
        }
        Ok(pid)
    });
    let pid = pid.map_err(|errno: crate::fs::Errno| failed(errno.0))?;
    let context = Context {
        sandbox: sandbox.clone(),
        run,
        pid,
    };
    execute(context, &program);
    Ok(())
}
