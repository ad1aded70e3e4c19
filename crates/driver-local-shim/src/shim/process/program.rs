//! Finding and executing a program.

use std::ffi::{CString, NulError};

use driver_local_shim::{Process, Stage};
use nix::errno::Errno;
use nix::unistd::execve;

use crate::failure::Failure;

/// Where programs are looked for without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program; the failure has the exit code that a shell would give.
pub(super) fn execute(process: &Process, environment: &[String]) -> Failure {
    let Some(name) = process.argv.first().filter(|name| !name.is_empty()) else {
        return failure("", Errno::ENOENT, "is no name of a program");
    };
    let (Ok(arguments), Ok(variables)) = (c_strings(&process.argv), c_strings(environment)) else {
        return failure(
            name,
            Errno::EINVAL,
            "cannot get an argument or variable with a NUL character",
        );
    };
    if name.contains('/') {
        let errno = attempt(name, &arguments, &variables);
        return failure(name, errno, errno.desc());
    }
    let path = environment
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let mut refused = None;
    for directory in path.unwrap_or(DEFAULT_PATH).split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        match attempt(&format!("{directory}/{name}"), &arguments, &variables) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => refused = Some(Errno::EACCES),
            errno => return failure(name, errno, errno.desc()),
        }
    }
    match refused {
        Some(errno) => failure(name, errno, errno.desc()),
        None => failure(name, Errno::ENOENT, "executable file not found in PATH"),
    }
}

/// Comes back only where the program cannot be executed.
fn attempt(path: &str, arguments: &[CString], variables: &[CString]) -> Errno {
    let Ok(path) = CString::new(path) else {
        return Errno::ENOENT;
    };
    match execve(&path, arguments, variables) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>, NulError> {
    strings
        .iter()
        .map(|string| CString::new(string.as_str()))
        .collect()
}

fn failure(name: &str, errno: Errno, reason: &str) -> Failure {
    let missing = matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
    Failure {
        stage: Stage::Exec,
        exit_code: Some(if missing { 127 } else { 126 }),
        errno: Some(errno as i32),
        message: format!("exec {name:?}: {reason}"),
    }
}
