//! For build scripts: builds a program of another crate of this workspace as a static Linux executable, to be embedded.
//!
//! It is another program than the crate that embeds it: another target, its own profile, no unwinding. So a nested cargo
//! builds it, into a target directory of its own, and never waits for the lock of the outer one.
//!
//! ```no_run
//! let program = driver_static_build::build("driver-exec-guard", "guard").expect("a C library to link statically");
//! println!("{}: {} bytes, {}", program.path.display(), program.bytes.len(), program.id);
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that was built.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is, in the build script's `OUT_DIR`.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Tells versions of it apart.
    pub id: String,
}

/// How a program can be linked, best first.
const TARGETS: [(&str, &[&str]); 2] = [
    ("unknown-linux-musl", &[]),
    (
        "unknown-linux-gnu",
        &[
            "-C",
            "target-feature=+crt-static",
            "-C",
            "relocation-model=static",
        ],
    ),
];

/// Builds the program `bin` of the crate in the directory `crate_name` beside the crate whose build script calls this,
/// for the architecture of the target, and tells cargo what it is made of.
///
/// # Errors
///
/// The first error of cargo for each way of linking, in one text.
///
/// # Panics
///
/// Outside of a build script, or where the built program cannot be read.
pub fn build(crate_name: &str, bin: &str) -> Result<Program, String> {
    let directory = Path::new(&variable("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(crate_name);
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let mut reasons = Vec::new();
    for (system, flags) in TARGETS {
        let target = format!("{architecture}-{system}");
        match build_for(&directory, bin, &target, flags) {
            Ok(path) => {
                let bytes = fs::read(&path).expect("the program that was just built");
                let id = format!("{:016x}", fnv1a(&bytes));
                return Ok(Program { path, bytes, id });
            }
            Err(reason) => reasons.push(format!("{target}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

/// Lets cargo run the build script again when one of these crates changes.
pub fn depends_on(crate_names: &[&str]) {
    for name in crate_names {
        for input in ["src", "Cargo.toml"] {
            println!("cargo:rerun-if-changed=../{name}/{input}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
}

fn build_for(directory: &Path, bin: &str, target: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let out = PathBuf::from(variable("OUT_DIR")).join(format!("{bin}-target"));
    let output = Command::new(variable("CARGO"))
        .args(["build", "--locked", "--release", "--bin", bin, "--target", target])
        .arg("--manifest-path")
        .arg(directory.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&out)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        // What the outer build set for its crate (clippy's or a coverage tool's compiler) is not for this program.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(out.join(target).join("release").join(bin));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let first = errors
        .lines()
        .find(|line| line.starts_with("error"))
        .unwrap_or("cargo failed");
    Err(first.to_owned())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// A hash that is the same with every compiler. It only tells versions apart: the content is compared in full before
/// it is used.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
