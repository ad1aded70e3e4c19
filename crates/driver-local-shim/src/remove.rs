//! Removing a tree that is not trusted, by descriptors: no symbolic link in it is followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, chmod, openat, renameat_with, unlinkat};
use rustix::io::Errno;

/// Removes what has this name in a directory, and if it is a directory all that is in it. Nothing there is fine.
///
/// # Errors
///
/// Those of the file system.
pub fn remove_all(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    if unlinked(&parent, name)? {
        return Ok(());
    }
    let top = open_to_empty(&parent, name)?;
    let mut number = 0;
    loop {
        let names = names_in(&top)?;
        if names.is_empty() {
            return removed(&parent, name);
        }
        for name in names {
            if !unlinked(&top, &name)? {
                flatten(&top, &name, &mut number)?;
            }
        }
    }
}

/// Removes a directory in `top`, and moves those in it up into that: so a tree of any depth is removed with three open files
/// and without recursion. Whoever made the tree may have made it deep to stop us.
fn flatten(top: &OwnedFd, name: &OsStr, number: &mut u64) -> io::Result<()> {
    let directory = open_to_empty(top, name)?;
    for child in names_in(&directory)? {
        while !unlinked(&directory, &child)? {
            *number += 1;
            let new = format!(".{number}");
            match renameat_with(&directory, &child, top, &new, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::EXIST) => {}
                // Of a tree that is not ours: its directory may not be written to.
                Err(Errno::ACCESS) => drop(open_to_empty(&directory, &child)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
    removed(top, name)
}

/// Opens a directory whose entries are to be removed. Its permissions may forbid that; root does not need them.
fn open_to_empty(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !rustix::process::geteuid().is_root() {
        let place = openat(&parent, name, flags | OFlags::PATH, Mode::empty())?;
        chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
    }
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(openat(&parent, name, flags, Mode::empty())?)
}

/// Removes a name that is no directory; `false`: it is one. Nothing there is fine.
fn unlinked(directory: impl AsFd, name: &OsStr) -> io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes an empty directory. Nothing there is fine.
fn removed(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The names in an open directory, without `.` and `..`.
///
/// # Errors
///
/// Those of the file system.
pub fn names_in(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
