//! Project quotas of the file system that the state directory is on. Their system calls are made by a shim: no library wraps
//! them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use driver_local_shim::{QuotaChange, QuotaTask, Report, Task};
use rustix::fs::{CWD, IFlags, Mode, OFlags, ioctl_getflags, major, minor, openat};

use crate::layout::Layout;
use crate::shim::Shim;

/// Why there are none here, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

const MOUNT_IT: &str = "put the state directory on ext4 or XFS that is mounted with the option prjquota (ext4: once, while it is \
                        not mounted, `tune2fs -O project -Q prjquota DEVICE`)";

/// Why this host cannot have them, if so. Where the file system says that it has them, one is tried out.
pub(super) fn probe(shim: &Shim, layout: &Layout) -> Result<(), Lack> {
    let lack = |reason, remedy: &str| Lack {
        reason,
        remedy: remedy.to_owned(),
    };
    let root = layout.root();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let device = fs::metadata(root).map(|found| found.dev()).unwrap_or_default();
    check_options(&mounts, &format!("{}:{}", major(device), minor(device)))
        .map_err(|reason| lack(reason, MOUNT_IT))?;
    if inherits(&layout.containers()) {
        let reason = "the state directory belongs to a project itself".to_owned();
        return Err(lack(
            reason,
            "use a state directory without a project id (lsattr -p -d)",
        ));
    }
    try_out(shim, layout).map_err(|error| {
        let reason = format!("the file system has project quotas, but {error}");
        lack(
            reason,
            "use Linux 5.14 or later, and a process with all capabilities of root",
        )
    })
}

/// Whether the file system on a device (`MAJOR:MINOR`) keeps project quotas, of the text of `/proc/self/mountinfo`.
fn check_options(mounts: &str, device: &str) -> Result<(), String> {
    let parse = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let is_it = fields.split(' ').nth(2) == Some(device);
        let mut rest = rest.split(' ');
        let (kind, options) = (rest.next()?.to_owned(), rest.nth(1)?.to_owned());
        is_it.then_some((kind, options))
    };
    match mounts.lines().find_map(parse) {
        Some((kind, options)) if ["ext4", "xfs"].contains(&kind.as_str()) => {
            match options.split(',').any(|option| option == "prjquota") {
                true => Ok(()),
                false => Err(format!("{kind} is mounted without the option prjquota")),
            }
        }
        Some((kind, _)) if kind == "btrfs" => Err("the quotas of btrfs are not used".to_owned()),
        Some((kind, _)) => Err(format!("{kind} has no project quotas")),
        None => Err("the file system is not known".to_owned()),
    }
}

/// In a directory of the trash: what a crash leaves of it is removed with that.
fn try_out(shim: &Shim, layout: &Layout) -> io::Result<()> {
    let name = crate::id::random()?;
    let directory = layout.trash().join(&name);
    DirBuilder::new().mode(0o700).create(&directory)?;
    let first = first(&name);
    let tried = ask(shim, &directory, QuotaChange::Try { first });
    fs::remove_dir(&directory).and(tried)
}

/// Limits a new directory, of the container with this id. Blocks.
pub(super) fn begin(shim: &Shim, directory: &Path, id: &str, bytes: u64) -> io::Result<()> {
    let first = first(id);
    ask(shim, directory, QuotaChange::Begin { first, bytes })
}

/// Changes the limit; 0: none. Blocks.
pub(super) fn set(shim: &Shim, directory: &Path, bytes: u64) -> io::Result<()> {
    ask(shim, directory, QuotaChange::Set { bytes })
}

/// Whether a directory has a limit of its own.
pub(super) fn is_held(directory: &Path) -> bool {
    inherits(directory) && !directory.parent().is_some_and(inherits)
}

/// Whether what is made in a directory belongs to a project.
fn inherits(directory: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(CWD, directory, flags, Mode::empty()).and_then(ioctl_getflags);
    found.is_ok_and(|flags| flags.contains(IFlags::PROJECT_INHERIT))
}

/// Ids are random: their first digits spread the ids of projects.
fn first(id: &str) -> u32 {
    let digits = id.get(..8).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or_default()
}

fn ask(shim: &Shim, directory: &Path, change: QuotaChange) -> io::Result<()> {
    let task = QuotaTask {
        directory: directory.to_string_lossy().into_owned(),
        change,
    };
    match shim.ask(&Task::Quota(Box::new(task)))? {
        Report::Ready => Ok(()),
        Report::Failed { message, .. } => Err(io::Error::other(message)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use driver_types::ResourceLimits;
    use rstest::rstest;

    use super::*;

    /// The size that the kernel tells of a directory: that of its limit, or of the file system.
    fn mib(directory: &Path) -> u64 {
        let found = rustix::fs::statvfs(directory).unwrap();
        found.f_blocks * found.f_frsize / ResourceLimits::MIB
    }

    /// All at once, of which each would take the same project first: each has a limit of its own.
    #[test]
    fn a_quota_is_for_one_directory() {
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        layout.prepare().unwrap();
        let shim = Shim::load().unwrap();
        if let Err(lack) = probe(&shim, &layout) {
            assert!(std::env::var_os("DRIVER_REQUIRE_QUOTA").is_none(), "{lack:?}");
            println!("skipped: {}", lack.reason);
            return;
        }
        assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 0);
        let id = crate::id::random().unwrap();
        let directories: Vec<_> = (1..=8)
            .map(|number| (number, state.path().join(number.to_string())))
            .collect();
        std::thread::scope(|scope| {
            let (shim, id) = (&shim, &id);
            for (number, directory) in &directories {
                let make = move || {
                    fs::create_dir(directory).unwrap();
                    begin(shim, directory, id, number * ResourceLimits::MIB).unwrap();
                };
                scope.spawn(make);
            }
        });
        let limits: Vec<u64> = directories.iter().map(|(_, directory)| mib(directory)).collect();
        assert_eq!(limits, [1, 2, 3, 4, 5, 6, 7, 8]);
        for (_, directory) in &directories {
            assert!(is_held(directory));
            set(&shim, directory, 0).unwrap();
            set(&shim, directory, 0).unwrap();
            assert_eq!(mib(directory), mib(state.path()));
        }
        // One that has not begun.
        set(&shim, state.path(), ResourceLimits::MIB).unwrap();
        assert!(mib(state.path()) > 8 && !is_held(state.path()));
    }

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,discard\n\
                          30 22 8:2 / /a rw - ext4 /dev/sda2 rw,prjquota\n\
                          31 22 8:3 /x /b rw shared:2 master:1 - xfs /dev/sda3 rw,attr2,inode64,prjquota\n\
                          32 22 8:4 / /c rw - xfs /dev/sda4 rw,pqnoenforce\n\
                          33 22 0:40 / /d rw - btrfs /dev/sda5 rw\n\
                          34 22 0:41 / /e rw - tmpfs tmpfs rw\n";

    #[rstest]
    #[case("8:2", None)]
    #[case("8:3", None)]
    #[case("8:1", Some("ext4 is mounted without"))]
    #[case("8:4", Some("xfs is mounted without"))]
    #[case("0:40", Some("btrfs are not used"))]
    #[case("0:41", Some("tmpfs has no project quotas"))]
    #[case("9:9", Some("not known"))]
    fn the_file_system_says_whether_it_keeps_them(#[case] device: &str, #[case] lack: Option<&str>) {
        let found = check_options(MOUNTS, device).err();
        match lack {
            None => assert_eq!(found, None),
            Some(lack) => assert!(
                found.as_ref().is_some_and(|found| found.contains(lack)),
                "{found:?}"
            ),
        }
    }
}
