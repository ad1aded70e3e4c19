//! Builds the exec guard as a static Linux program, to be embedded.
//!
//! It is another program than this crate: another target, its own profile, no unwinding. So a nested cargo builds it,
//! into a target directory of its own, and never waits for the lock of the outer one. Where it cannot be built, the
//! driver is built without it and declares exec unsupported, with the reason that is embedded instead.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the guard can be linked, best first.
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

fn main() {
    let guard = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../driver-exec-guard");
    for input in ["src", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", guard.join(input).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    // Containers have the architecture of the engine; which that is shows only at run time. Most run where we run.
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut reasons = Vec::new();
    let built = TARGETS.iter().find_map(|(system, flags)| {
        let target = format!("{architecture}-{system}");
        build(&guard, &out, &target, flags)
            .map_err(|reason| reasons.push(format!("{target}: {reason}")))
            .ok()
    });
    let embedded = match built {
        Some(program) => {
            let bytes = fs::read(&program).expect("the program that was just built");
            format!(
                "Ok(Program {{ bytes: include_bytes!({program:?}), id: \"{:016x}\", architecture: {architecture:?} }})",
                fnv1a(&bytes)
            )
        }
        None => {
            let reason = reasons.join("; ");
            println!("cargo:warning=exec will not be supported: the exec guard cannot be built ({reason})");
            format!("Err({reason:?})")
        }
    };
    let code = format!(
        "/// The exec guard, or why there is none.\nstatic PROGRAM: Result<Program, &str> = {embedded};\n"
    );
    fs::write(out.join("guard.rs"), code).expect("OUT_DIR can be written");
}

fn build(guard: &Path, out: &Path, target: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let directory = out.join("guard-target");
    let output = Command::new(variable("CARGO"))
        .args([
            "build",
            "--locked",
            "--release",
            "--bin",
            "guard",
            "--target",
            target,
        ])
        .arg("--manifest-path")
        .arg(guard.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        // What the outer build set for this crate (clippy's or a coverage tool's compiler) is not for the guard.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(directory.join(target).join("release/guard"));
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
