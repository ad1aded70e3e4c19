//! A file as a file system of a fixed size: ext4 without a journal on a loop device, which the kernel frees with the last
//! mount of it. So nothing of it outlives its mount but the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{FsOpenFlags, fsopen};

const MAKE: &str = "mkfs.ext4";
const CHECK: &str = "fsck.ext4";
const MOUNT: &str = "mount";

/// Why this host cannot have one, if so. Changes nothing.
pub(super) fn probe() -> Result<(), String> {
    for program in [MAKE, CHECK, MOUNT] {
        find(program).map_err(|error| error.to_string())?;
    }
    let control = "/dev/loop-control";
    File::options()
        .read(true)
        .write(true)
        .open(control)
        .map_err(|error| format!("no loop devices: {control}: {error}"))?;
    fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| format!("the kernel mounts no ext4: {error}"))?;
    Ok(())
}

/// Makes the file: sparse, so it takes from the host's disk what is written to it.
pub(super) fn make(image: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(image)?;
    file.set_len(bytes)?;
    let features = "^has_journal,^resize_inode";
    let mut make = Command::new(find(MAKE)?);
    // Nothing is reserved for root, and an inode for 8 KiB: small files are what programs install.
    make.args(["-q", "-F", "-O", features, "-m", "0", "-i", "8192"]);
    make.args(["-E", "nodiscard,lazy_itable_init=1"]).arg(image);
    run(&mut make, &[0])
}

/// Mounts the file.
pub(super) fn mount(image: &Path, at: &Path) -> io::Result<()> {
    let mut mount = Command::new(find(MOUNT)?);
    mount.args(["-t", "ext4", "-o", "loop,nosuid,nodev,noatime"]);
    run(mount.arg(image).arg(at), &[0])
}

/// Repairs what a machine that went down in the middle of a write has left: there is no journal.
pub(super) fn check(image: &Path) -> io::Result<()> {
    let mut check = Command::new(find(CHECK)?);
    // 1: errors were corrected.
    run(check.arg("-p").arg(image), &[0, 1])
}

/// Where a program is; those of the administrator may not be in `PATH`.
fn find(program: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no program `{program}`")))
}

fn run(command: &mut Command, good: &[i32]) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    if ran.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(());
    }
    let said = [ran.stderr, ran.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    Err(io::Error::other(format!(
        "{program}: {}; {}",
        ran.status,
        said.trim()
    )))
}
