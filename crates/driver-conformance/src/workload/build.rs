//! Compiles the workload program with the `rustc` of this machine, once per version of its source.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fnv::fnv1a64;

/// The source files by name; the first is the root.
const SOURCES: [(&str, &str); 8] = [
    ("main.rs", include_str!("../../workload/main.rs")),
    ("escape.rs", include_str!("../../workload/escape.rs")),
    ("files.rs", include_str!("../../workload/files.rs")),
    ("network.rs", include_str!("../../workload/network.rs")),
    ("processes.rs", include_str!("../../workload/processes.rs")),
    ("resources.rs", include_str!("../../workload/resources.rs")),
    ("system.rs", include_str!("../../workload/system.rs")),
    ("terminal.rs", include_str!("../../workload/terminal.rs")),
];

/// A library that tells when it is loaded.
const LIBRARY: &str = include_str!("../../workload/library.rs");

/// What they are called where they are written for others.
const PROGRAM: &str = "program";
const HOSTILE: &str = "hostile.so";

/// The program as a static executable.
///
/// # Errors
///
/// There is no `rustc`, it cannot link statically, or the cache cannot be written.
pub(crate) fn program() -> Result<Vec<u8>, String> {
    if let Some(program) = written(PROGRAM) {
        return program;
    }
    let flags = [
        "--crate-name=workload",
        "-Cstrip=symbols",
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=static",
    ];
    made(&SOURCES, &flags, static_target)
        .map_err(|error| format!("cannot build the workload program: {error}"))
}

/// The hostile library of the cases about escapes, for the loader of the host's own programs.
///
/// # Errors
///
/// There is no `rustc`, it cannot link, or the cache cannot be written.
pub(crate) fn library() -> Result<Vec<u8>, String> {
    if let Some(library) = written(HOSTILE) {
        return library;
    }
    let flags = [
        "--crate-name=hostile",
        "--crate-type=cdylib",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-Wl,-e,hostile",
    ];
    made(&[("main.rs", LIBRARY)], &flags, |_| Vec::new())
        .map_err(|error| format!("cannot build the hostile library: {error}"))
}

/// Writes both into a directory, which `DRIVER_CONFORMANCE_WORKLOAD` then names to a user who has no compiler.
///
/// # Errors
///
/// Those of [`program`]. Where there is no [`library`], the user has none either.
pub(crate) fn write(directory: &Path) -> Result<(), String> {
    let write = |name, content: Vec<u8>| {
        let path = directory.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))
    };
    write(PROGRAM, program()?)?;
    library().map_or(Ok(()), |library| write(HOSTILE, library))
}

/// What another user wrote, where the variable says so; then nothing is built here.
fn written(name: &str) -> Option<Result<Vec<u8>, String>> {
    let path = Path::new(&std::env::var_os("DRIVER_CONFORMANCE_WORKLOAD")?).join(name);
    let read = fs::read(&path);
    Some(read.map_err(|error| format!("DRIVER_CONFORMANCE_WORKLOAD: {}: {error}", path.display())))
}

/// What the sources give with these flags, from the cache where it was made before.
fn made(
    sources: &[(&str, &str)],
    flags: &[&str],
    target: impl Fn(&str) -> Vec<String>,
) -> Result<Vec<u8>, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(&rustc).arg("-vV"))?;
    let cache = cache_directory();
    let text: String = sources
        .iter()
        .map(|(_, source)| *source)
        .chain(flags.iter().copied())
        .collect();
    let hash = fnv1a64(text.as_bytes()) ^ fnv1a64(&version.stdout).rotate_left(1);
    let cached = cache.join(format!("workload-{hash:016x}"));
    if let Ok(program) = fs::read(&cached) {
        return Ok(program);
    }
    let target = target(&String::from_utf8_lossy(&version.stdout));
    compile(
        Command::new(&rustc).args(flags).args(target),
        sources,
        &cache,
        &cached,
    )
}

/// Beside the test programs, which `cargo clean` removes as well.
fn cache_directory() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("driver-conformance")));
    beside.unwrap_or_else(|| std::env::temp_dir().join("driver-conformance"))
}

/// The flags for a static program: with musl where that target is installed, else with the host's own C library.
fn static_target(version: &str) -> Vec<String> {
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    let musl = host.replace("-gnu", "-musl");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", &musl])
        .output();
    let installed =
        libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir());
    let target = if installed { musl } else { host.to_owned() };
    vec!["--target".to_owned(), target]
}

fn compile(
    rustc: &mut Command,
    sources: &[(&str, &str)],
    cache: &Path,
    cached: &Path,
) -> Result<Vec<u8>, String> {
    let text = |error: io::Error| error.to_string();
    fs::create_dir_all(cache).map_err(text)?;
    // A directory of its own, and a rename at the end: several test programs may build at the same time.
    let scratch = tempfile::tempdir_in(cache).map_err(text)?;
    for (name, source) in sources {
        fs::write(scratch.path().join(name), source).map_err(text)?;
    }
    let (root, program) = (scratch.path().join("main.rs"), scratch.path().join("workload"));
    let flags = ["--edition=2024", "-Copt-level=s", "-Cpanic=abort"];
    output(rustc.args(flags).arg("-o").arg(&program).arg(&root))?;
    fs::rename(&program, cached).map_err(text)?;
    fs::read(cached).map_err(text)
}

fn output(command: &mut Command) -> Result<Output, String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{} failed: {}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    /// It has teeth: a program that loads it is not itself any more, here with no workload program to become.
    #[test]
    fn the_library_takes_over_who_loads_it() {
        let library = super::library().expect("it builds");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("hostile.so");
        std::fs::write(&path, library).expect("it is written");
        let loads = |library: &std::path::Path| {
            let mut command = std::process::Command::new("/bin/true");
            command
                .env("LD_PRELOAD", library)
                .status()
                .expect("it runs")
                .code()
        };
        assert_eq!(loads("".as_ref()), Some(0));
        assert_eq!(loads(&path), Some(9));
    }

    #[test]
    fn the_program_is_static_and_runs() {
        let program = super::program().expect("it builds");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("workload");
        std::fs::write(&path, &program).expect("it is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is executable");
        let mut command = std::process::Command::new(&path);
        let commands = [
            "out",
            "hello",
            ",",
            "read",
            "/nothing/there",
            ",",
            "args",
            "a b",
            "\n",
            ",",
            "exit",
            "3",
        ];
        let output = command.args(commands).env_clear().output().expect("it runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "hello\nread!ENOENT\nargs=2\narg=a b\narg=\\n\n"
        );
        assert_eq!(output.status.code(), Some(3));
    }
}
