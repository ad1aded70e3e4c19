//! What crashes leave behind, and what many lifecycles do: nothing.
//!
//! `points`: an application is killed before or after each system call that changes something, then its shims, then both; a new
//! driver recovers. `kills`: the same at random moments under load; `kills_without_root` as the user nobody. `soak`: many
//! lifecycles, and many containers at once. As tests they are bounded samples; `cargo xtask crash` and `cargo xtask soak` run the
//! whole. All but `kills` need root.
#![allow(
    clippy::unwrap_used,
    reason = "a harness without its preconditions cannot go on"
)]

mod app;
mod before;
mod calls;
#[path = "../common/digest.rs"]
mod digest;
mod ending;
mod judge;
mod leftovers;
mod load;
mod oci;
mod points;
mod soak;
mod story;
mod tracer;
mod workload;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use driver_types::{CheckStatus, ContainerDriver, ImportOptions};

use crate::judge::Judge;
use crate::workload::{IMAGE, image, stream_of};

/// A test: its name, and what gives what is wrong.
type Test = (&'static str, fn() -> Vec<String>);

const TESTS: [Test; 4] = [
    ("points", || as_root(points::run)),
    ("kills", || on_bench(load::run)),
    ("kills_without_root", without_root),
    ("soak", || as_root(soak::run)),
];

/// The user and the group `nobody`.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, script, state, seed] = &arguments[..]
        && kind == "application"
    {
        app::main(script, Path::new(state), seed.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        let ignored = arguments.iter().any(|argument| argument == "--ignored");
        TESTS
            .iter()
            .filter(|_| !ignored)
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let named: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let mut verdict = ExitCode::SUCCESS;
    for (name, test) in TESTS
        .iter()
        .filter(|(name, _)| named.is_empty() || named.iter().any(|other| other == name))
    {
        let complaints = test();
        complaints
            .iter()
            .for_each(|complaint| println!("FAILED {complaint}"));
        println!("{name}: {} complaints", complaints.len());
        if !complaints.is_empty() {
            verdict = ExitCode::FAILURE;
        }
    }
    verdict
}

fn on_bench(test: fn(&Bench) -> Vec<String>) -> Vec<String> {
    Bench::new().map(|bench| test(&bench)).unwrap_or_default()
}

fn as_root(test: fn(&Bench) -> Vec<String>) -> Vec<String> {
    if is_root() {
        return on_bench(test);
    }
    println!("skipped: needs root");
    Vec::new()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `kills` in a process of another user.
fn without_root() -> Vec<String> {
    if !is_root() {
        println!("skipped: `kills` runs without root");
        return Vec::new();
    }
    // Not by its path: that may be below directories which are root's alone.
    let status = Command::new("/proc/self/exe")
        .arg("kills")
        .env_remove("TMPDIR")
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    match status.success() {
        true => Vec::new(),
        false => vec![format!("as the user {NOBODY}: {status}")],
    }
}

/// A number from the environment, for longer runs.
pub(crate) fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number"))
    })
}

/// A state directory with the image, and what looks into it.
pub(crate) struct Bench {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) judge: Judge,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// `None`, with the reason printed: this machine cannot run containers as this user.
    fn new() -> Option<Self> {
        let tar = image()?;
        let directory = tempfile::tempdir().unwrap();
        // Users of containers go through it.
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )
        .unwrap();
        let state = directory.path().canonicalize().unwrap().join("state");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let fits = runtime.block_on(async {
            let driver = app::open(&state).unwrap();
            let checks = driver.preflight().await.unwrap().checks;
            if let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) {
                println!("skipped: {}", failed.message);
                return false;
            }
            driver
                .import_image(&ImportOptions::new(IMAGE), stream_of(tar))
                .await
                .unwrap();
            true
        });
        fits.then(|| Self {
            runtime,
            judge: Judge::new(state),
            _directory: directory,
        })
    }
}
