//! A further wall around a shim that only watches: Landlock, where the kernel has it.
//!
//! Such a shim is root of the host and lives as long as its container, whose bytes it handles. What is left for it to do needs few
//! files: the log, names to remove in the container's directory, and its cgroups. The wall closes all others, TCP, abstract sockets
//! and signals to other processes. What it has open stays usable.
//!
//! The container itself has no such wall: a process of an exec has a domain of its own then, and the kernel keeps it from looking
//! at the main process (`/proc/PID/fd`, `/proc/PID/exe`, ptrace), which users of containers count on.

use std::os::fd::BorrowedFd;
use std::path::Path;

use driver_local_shim::Cgroup;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

/// The version that this was tested with. The kernel leaves out what it does not know of it.
const TESTED: ABI = ABI::V6;

/// What a shim needs of its own files.
#[derive(Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// The container's directory.
    pub(crate) directory: BorrowedFd<'a>,
    /// That of the log.
    pub(crate) log: BorrowedFd<'a>,
    /// What is removed after the end.
    pub(crate) cgroups: &'a [Cgroup],
}

impl Needs<'_> {
    /// Closes everything else to this process, for ever. Where the kernel has no Landlock it stays as it is; `preflight` of the
    /// driver tells that.
    pub(crate) fn wall_off(self) -> Result<RestrictionStatus, RulesetError> {
        let names = AccessFs::RemoveFile;
        let log = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | MakeReg | RemoveFile});
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(TESTED))?
            .handle_access(AccessNet::from_all(TESTED))?
            .scope(Scope::from_all(TESTED))?
            .create()?
            .add_rule(PathBeneath::new(self.directory, names))?
            .add_rule(PathBeneath::new(self.log, log))?;
        for (path, inside) in self.cgroups.iter().filter_map(of_cgroup) {
            if !inside.is_empty() {
                ruleset = allow(ruleset, Path::new(path), inside)?;
            }
            if let Some(parent) = Path::new(path).parent() {
                ruleset = allow(ruleset, parent, AccessFs::RemoveDir.into())?;
            }
        }
        ruleset.restrict_self()
    }
}

/// Closes all files, TCP, abstract sockets and signals to a process that needs none of them; as far as the kernel can.
pub(crate) fn close_all() -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?
        .restrict_self()
}

/// The path of one that is removed, and what is done to the files in it. Those of version 2 are asked to kill what is left, and
/// told when that is done.
fn of_cgroup(cgroup: &Cgroup) -> Option<(&str, BitFlags<AccessFs>)> {
    match cgroup {
        Cgroup::V1(path) => Some((path, BitFlags::EMPTY)),
        Cgroup::V2(path) => Some((path, make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate}))),
        Cgroup::Shared(_) => None,
    }
}

/// A path that cannot be opened needs no permission.
fn allow<R: RulesetCreatedAttr>(
    ruleset: R,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<R, RulesetError> {
    match PathFd::new(path) {
        Ok(place) => ruleset.add_rule(PathBeneath::new(place, access)),
        Err(_) => Ok(ruleset),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use driver_local_shim::LogPolicy;
    use landlock::RulesetStatus;
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;
    use crate::logs::LogWriter;

    /// Landlock holds a thread: each of these checks is done by one of its own.
    fn behind_the_wall(place: &Path, cgroups: &[Cgroup], check: impl FnOnce(LogWriter) + Send) {
        fs::create_dir(place.join("log")).expect("a directory");
        let directory = fs::File::open(place).expect("a directory");
        let log_directory = fs::File::open(place.join("log")).expect("a directory");
        let policy = LogPolicy {
            max_file_bytes: 100,
            max_files: 2,
        };
        let log = LogWriter::open(log_directory.try_clone().expect("a copy").into(), policy).expect("a log");
        let needs = Needs {
            directory: directory.as_fd(),
            log: log_directory.as_fd(),
            cgroups,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let raised = needs.wall_off().expect("nothing is wrong with the rules");
                match raised.ruleset {
                    RulesetStatus::FullyEnforced => check(log),
                    other => eprintln!(
                        "skipped: Landlock of this kernel is {:?}, {other:?}",
                        raised.landlock
                    ),
                }
            });
        });
    }

    #[test]
    fn what_a_shim_does_is_open() {
        let place = tempfile::tempdir().expect("a directory");
        let group = place.path().join("groups/one");
        fs::create_dir_all(&group).expect("a directory");
        for name in ["cgroup.kill", "cgroup.events"] {
            fs::write(group.join(name), "0").expect("a file");
        }
        fs::write(place.path().join("shim.sock"), "").expect("a file");
        let path = group.to_str().expect("a path").to_owned();
        behind_the_wall(place.path(), &[Cgroup::V2(path)], |mut log| {
            for _ in 0..5 {
                log.write(1, &[b'x'; 80], 7);
            }
            fs::remove_file(place.path().join("shim.sock")).expect("a name of the directory");
            fs::write(group.join("cgroup.kill"), "1").expect("a file of the cgroup");
            fs::File::open(group.join("cgroup.events")).expect("a file of the cgroup");
        });
        let names = fs::read_dir(place.path().join("log")).expect("a log").flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["00000003.log", "00000004.log"]);
        let directory = place.path().join("empty");
        fs::create_dir(&directory).expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        let path = directory.to_str().expect("a path").to_owned();
        behind_the_wall(other.path(), &[Cgroup::V1(path)], |_| {
            fs::remove_dir(&directory).expect("a cgroup");
        });
    }

    #[test]
    fn all_else_is_closed() {
        let place = tempfile::tempdir().expect("a directory");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("an address");
        let name = format!("wall-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let _listener = UnixListener::bind_addr(&address).expect("a socket");
        UnixStream::connect_addr(&address).expect("a socket that is open to others");
        behind_the_wall(place.path(), &[], |_| {
            let denied = Some(ErrorKind::PermissionDenied);
            let kind = |result: std::io::Result<()>| result.err().map(|error| error.kind());
            assert_eq!(kind(fs::read("/etc/passwd").map(drop)), denied);
            assert_eq!(kind(fs::read_dir("/").map(drop)), denied);
            assert_eq!(kind(fs::write(place.path().join("new"), "")), denied);
            assert_eq!(kind(fs::create_dir(place.path().join("log/new"))), denied);
            assert_eq!(kind(TcpStream::connect(port).map(drop)), denied);
            assert_eq!(kind(UnixStream::connect_addr(&address).map(drop)), denied);
            assert_eq!(kill(Pid::parent(), None), Err(Errno::EPERM));
            assert_eq!(
                kind(fs::read(format!("/proc/{}/environ", Pid::parent())).map(drop)),
                denied
            );
        });
    }
}
