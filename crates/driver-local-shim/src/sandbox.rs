//! What surrounds a container's processes.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// Namespaces, root file system and mounts of a container. Paths of the host are absolute and trusted: the driver made
/// them. Targets are inside the root and are never trusted: they are resolved in it, without following symlinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The host name inside.
    pub hostname: String,
    /// The network namespace.
    pub network: NetworkNamespace,
    /// A user namespace, where the driver is not root.
    pub user: Option<UserNamespace>,
    /// The root file system.
    pub root: Root,
    /// Volumes, tmpfs and files of the driver, in the order in which to mount them. After /proc, /sys and /dev.
    pub mounts: Vec<Mount>,
    /// A directory that is made where it is missing, as Docker does for the main process to work in. Absolute, inside the root.
    pub working_dir: String,
    /// The size of /dev/shm in bytes.
    pub shm_bytes: u64,
}

/// Which network the container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// One of its own with a loopback interface that is up.
    New,
    /// The host's.
    Host,
    /// The one bound to this path.
    Path(String),
    /// One of its own that a program of the host connects with the world.
    Helper(NetworkHelper),
}

/// A program that carries the packets of a network namespace in user space: `pasta`, `slirp4netns`. It needs no rights but
/// those in the container's user namespace, and ends with the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkHelper {
    /// Its absolute path.
    pub program: String,
    /// Its arguments. In each `{pid}` stands for the pid of the container's first process. It has to write to its
    /// stdin, which is a pipe, when the network is up, and to stay in the foreground.
    pub arguments: Vec<String>,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Ports of UDP that are published, which the program has no part in.
    pub udp_ports: Vec<UdpPort>,
    /// What the container must not reach: addresses and the lengths of their prefixes.
    pub unreachable: Vec<(Ipv4Addr, u8)>,
}

/// A published port of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpPort {
    /// Where it is reached.
    pub host: SocketAddrV4,
    /// The port in the container.
    pub container: u16,
}

impl NetworkNamespace {
    /// Whether it is made with the container.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::New | Self::Helper(_))
    }
}

/// The ids of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// The user ids.
    pub uids: Vec<IdMap>,
    /// The group ids.
    pub gids: Vec<IdMap>,
    /// Whether the maps are written by `newuidmap` and `newgidmap` (more than the driver's own id).
    pub by_helpers: bool,
}

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The first inside.
    pub inside: u32,
    /// The first outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The root file system: an overlay of directories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Read-only directories of the host, the topmost first. At least one.
    pub lower: Vec<String>,
    /// Where writes go; absent for a root that is read-only.
    pub writable: Option<Writable>,
}

/// The writable layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// What was written.
    pub upper: String,
    /// For the overlay's own use, on the same file system.
    pub work: String,
}

/// Something to mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: absolute, inside the root. Made where it is missing and the root can be written to; in a read-only root a
    /// missing target is made in the overlay before it becomes read-only.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Refuse writes.
    pub read_only: bool,
}

/// The sources of mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host, with what is mounted below it.
    Bind(String),
    /// A file system in memory. `noexec` is not set; `nosuid` and `nodev` are.
    Tmpfs {
        /// Its size in bytes.
        bytes: u64,
        /// The permission bits of its root.
        mode: u32,
    },
}

/// A cgroup to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroup {
    /// Of version 1: a directory of one controller. Joined through its `tasks` file, by the process itself.
    V1(String),
    /// Of version 2: the directory. The container's first process is cloned into it.
    V2(String),
    /// Of version 1: a directory that all containers share, joined likewise, and never removed.
    Shared(String),
}

impl Cgroup {
    /// The directory.
    pub fn path(&self) -> &str {
        match self {
            Self::V1(path) | Self::V2(path) | Self::Shared(path) => path,
        }
    }
}
