//! A file as a file system of a fixed size: ext4 without a journal on a loop device, which the kernel frees with the last
//! mount of it. So nothing of it outlives its mount but the file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsopen};

const MAKE: &str = "mkfs.ext4";
const CHECK: &str = "fsck.ext4";
const MOUNT: &str = "mount";

/// How many templates are kept: each takes some 100 KiB.
const MAX_TEMPLATES: usize = 16;

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

/// Makes the file: sparse, so it takes from the host's disk what is written to it. A copy of an empty one of this size, as making
/// a file system takes much longer than to copy the little that is in it.
pub(super) fn make(image: &Path, bytes: u64, templates: &Path) -> io::Result<()> {
    let template = match File::open(templates.join(bytes.to_string())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_template(bytes, templates)?,
        opened => opened?,
    };
    copy(&template, &new_file(image)?, bytes)
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// It gets its name when it is whole, on the disk too. Of a few sizes one is kept each: not of all that there ever were.
fn make_template(bytes: u64, templates: &Path) -> io::Result<File> {
    if fs::read_dir(templates)?.count() >= MAX_TEMPLATES {
        for entry in fs::read_dir(templates)? {
            remove(&entry?.path())?;
        }
    }
    let path = templates.join(format!(".new-{}", crate::id::random()?));
    let file = new_file(&path)?;
    let made = format(&file, &path, bytes).and_then(|()| {
        match fs::rename(&path, templates.join(bytes.to_string())) {
            // Another one was making room. It is still open.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(file),
        }
    });
    if made.is_err() {
        // What refused it is what to tell.
        let _ = remove(&path);
    }
    made
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn format(file: &File, path: &Path, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    let features = "^has_journal,^resize_inode";
    let mut make = Command::new(find(MAKE)?);
    // Nothing is reserved for root, and an inode for 8 KiB: small files are what programs install.
    make.args(["-q", "-F", "-O", features, "-m", "0", "-i", "8192"]);
    make.args(["-E", "nodiscard,lazy_itable_init=1"]).arg(path);
    run(&mut make, &[0])?;
    file.sync_all()
}

/// Shares the blocks where the host's file system can, else copies those that were written.
fn copy(from: &File, to: &File, bytes: u64) -> io::Result<()> {
    to.set_len(bytes)?;
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    loop {
        let start = match seek(from, SeekFrom::Data(at)) {
            // Only a hole is left.
            Err(Errno::NXIO) => return Ok(()),
            found => found?,
        };
        at = seek(from, SeekFrom::Hole(start))?;
        let (mut read, mut written) = (start, start);
        while read < at {
            let left = usize::try_from(at - read).unwrap_or(usize::MAX);
            if copy_file_range(from, Some(&mut read), to, Some(&mut written), left)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
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
