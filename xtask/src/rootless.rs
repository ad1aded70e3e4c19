//! The conformance suite on `driver-local` as users without rights, for a caller who is root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{self, Result};

/// A user: uid and gid.
#[derive(Clone, Copy)]
pub(crate) struct User(u32, u32);

/// The user of this name, if there is one.
pub(crate) fn user(name: &str) -> Result<Option<User>> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        Some(User(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Ok(found)
}

/// Whether the caller is root.
pub(crate) fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// Runs a conformance program, puts its report where `file` says, and tells how the program ended.
pub(crate) fn run(
    program: &Path,
    name: &str,
    user: User,
    selection: &[String],
    file: &Path,
) -> Result<String> {
    let User(uid, gid) = user;
    let place = Place::new(user)?;
    let copy = place.0.join("conformance");
    fs::copy(program, &copy)?;
    // The user may have no compiler, and cannot reach that of root.
    let workload = place.0.join("workload");
    fs::create_dir(&workload)?;
    run::run(Command::new(program).arg("--workload").arg(&workload))?;
    let written: Vec<_> = fs::read_dir(&workload)?
        .map(|file| Ok(file?.path()))
        .collect::<std::io::Result<_>>()?;
    for path in written.iter().chain([&copy, &workload]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let report = place.0.join("report.json");
    // Another user's variables name places that this one cannot reach.
    let mut command = Command::new(&copy);
    command
        .args(selection)
        .args(["--format", "json", "--output"])
        .arg(&report)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", &place.0)
        .env("DRIVER_CONFORMANCE_WORKLOAD", &workload)
        .env("DRIVER_CONFORMANCE_LOCAL_NAME", name)
        .env("DRIVER_CONFORMANCE_LOCAL_STATE", place.0.join("state"))
        .current_dir(&place.0)
        .uid(uid)
        .gid(gid)
        .stdin(Stdio::null());
    let status = command.status()?;
    if report.is_file() {
        fs::copy(&report, file)?;
    }
    Ok(status.to_string())
}

/// A directory of the user's own, removed at the end. Not in the checkout: root's home may be closed to others.
struct Place(PathBuf);

impl Place {
    fn new(User(uid, gid): User) -> Result<Self> {
        let place = Self(PathBuf::from("/var/tmp").join(format!("driver-rootless-{}", std::process::id())));
        fs::create_dir(&place.0)?;
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o700))?;
        chown(&place.0, Some(uid), Some(gid))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
