//! The suite's own test: a mock that tells a lie must turn the lie's group red.
//!
//! Each lie runs in a process of its own, this program again with the lie in its environment.

mod factory;

use std::collections::VecDeque;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use driver_mock::{Lie, Profile, Script};
use factory::MockFactory;

const LIE: &str = "DRIVER_MOCK_LIE";
/// Lies that are tried at the same time: most of the time goes by in waiting.
const AT_ONCE: usize = 12;

/// Which group has to notice which lie.
const GROUPS: &[(Lie, &str)] = &[
    (Lie::SkipValidation, "config"),
    (Lie::ForgetLabels, "create"),
    (Lie::KeepExitOnRestart, "start"),
    (Lie::ForgetRestarts, "start"),
    (Lie::StopWithoutWaiting, "stop"),
    (Lie::StopAlwaysKills, "stop"),
    (Lie::RemoveRunning, "remove"),
    (Lie::RemoveNamedVolumes, "remove"),
    (Lie::IgnoreStateTable, "state"),
    (Lie::IgnoreStateTable, "model"),
    (Lie::ListNewestFirst, "query"),
    (Lie::IgnoreFilters, "query"),
    (Lie::LoseLastLogLine, "logs"),
    (Lie::MixUpStreams, "logs"),
    (Lie::WrongExitCode, "wait"),
    (Lie::WaitReturnsEarly, "wait"),
    (Lie::DropSignals, "signal"),
    (Lie::PauseWithoutFreezing, "pause"),
    (Lie::ExecTimeoutLeavesTree, "exec"),
    (Lie::ExecHidesExitCode, "exec"),
    (Lie::StreamExitFirst, "exec_stream"),
    (Lie::SwallowStdin, "exec_stream"),
    (Lie::AttachKills, "attach"),
    (Lie::TruncateCopies, "files"),
    (Lie::AllowPathEscape, "files"),
    (Lie::ZeroStats, "stats"),
    (Lie::LoseExitEvents, "events"),
    (Lie::IgnoreMemoryLimit, "limits"),
    (Lie::HideOom, "limits"),
    (Lie::IgnorePidsLimit, "limits"),
    (Lie::IgnoreCpuLimit, "limits"),
    (Lie::IgnoreCapacity, "limits"),
    (Lie::RunAsRoot, "security"),
    (Lie::KeepCapabilities, "security"),
    (Lie::WritableRoot, "security"),
    (Lie::NoSeccomp, "security"),
    (Lie::IgnorePidsLimit, "escape"),
    (Lie::RemoveVolumesInUse, "volumes"),
    (Lie::ForgetVolumeContent, "volumes"),
    (Lie::IgnoreNetworkIsolation, "networks"),
    (Lie::RemoveNetworksInUse, "networks"),
    (Lie::WrongHostPort, "ports"),
    (Lie::ForgetImports, "images"),
    (Lie::PullAgainstPolicy, "images"),
    (Lie::AlwaysHealthy, "health"),
    (Lie::AcceptUndeclared, "capabilities"),
    (Lie::UntypedErrors, "errors"),
    (Lie::IgnoreRequestId, "idempotence"),
    (Lie::FailRaces, "concurrency"),
    (Lie::ForgetOnReopen, "recovery"),
    (Lie::IgnoreOwner, "recovery"),
    (Lie::LeakOnFailedCreate, "cleanup"),
];

fn main() -> ExitCode {
    if let Ok(lie) = env::var(LIE) {
        return tell(&lie);
    }
    let arguments: Vec<String> = env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("every_lie_is_noticed: test");
        }
        return ExitCode::SUCCESS;
    }
    let unnoticed = unnoticed();
    for problem in &unnoticed {
        eprintln!("mutations: {problem}");
    }
    ExitCode::from(u8::from(!unnoticed.is_empty()))
}

/// Runs the suite on a mock that lies.
fn tell(lie: &str) -> ExitCode {
    let script = Script::from_json(&format!(r#"{{"faults": [{{"kind": "lie", "lie": "{lie}"}}]}}"#));
    match script {
        Ok(script) => {
            let factory = MockFactory::with_script(Profile::Docker, script);
            driver_conformance::main(vec![std::sync::Arc::new(factory)])
        }
        Err(error) => {
            eprintln!("mutations: {error}");
            ExitCode::from(2)
        }
    }
}

/// The lies that nobody noticed, and those that have no group.
fn unnoticed() -> Vec<String> {
    let forgotten = Lie::ALL
        .iter()
        .filter(|lie| GROUPS.iter().all(|(known, _)| known != *lie))
        .map(|lie| format!("{lie:?} has no group"));
    let problems = Mutex::new(forgotten.collect::<Vec<_>>());
    let queue = Mutex::new(GROUPS.iter().collect::<VecDeque<_>>());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((lie, group)) = next else { return };
                    if let Err(problem) = is_noticed(*lie, group) {
                        problems
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(problem);
                    }
                }
            });
        }
    });
    problems.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn is_noticed(lie: Lie, group: &str) -> Result<(), String> {
    let name = serde_json::to_string(&lie).map_err(|error| error.to_string())?;
    let output = env::current_exe()
        .and_then(|program| {
            Command::new(program)
                .args(["--group", group, "--jobs", "32", "--format", "json"])
                .env(LIE, name.trim_matches('"'))
                .output()
        })
        .map_err(|error| format!("{lie:?}: {error}"))?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{lie:?}: no report: {error}"))?;
    if report["drivers"][0]["status"] != "ran" {
        return Err(format!(
            "{lie:?}: the driver did not run: {}",
            report["drivers"][0]["reason"]
        ));
    }
    match report["summary"]["failed"].as_u64() {
        Some(failed) if failed > 0 => Ok(()),
        _ => Err(format!("{lie:?} was not noticed by group {group}")),
    }
}
