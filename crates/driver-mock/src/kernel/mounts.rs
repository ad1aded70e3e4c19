//! What is mounted in a container.

use std::sync::{Arc, LazyLock, OnceLock};

use driver_types::{ContainerConfig, TmpfsMount};

use super::MIB;
use crate::fs::{FsType, Ino, Inode, Kind, Mount, ROOT, SharedTree, Tree};
use crate::world::ImageData;

/// What a container has mounted, beside what every container has. Its own file systems are made when somebody looks at
/// them first.
#[derive(Debug)]
pub(crate) struct MountPlan {
    pub(crate) image: Arc<ImageData>,
    pub(crate) config: Arc<ContainerConfig>,
    pub(crate) hostname: Arc<str>,
    /// Bytes that the writable layer may hold at first.
    pub(crate) disk_limit: Option<u64>,
    pub(crate) read_only: bool,
    /// Volumes and binds.
    pub(crate) volumes: Vec<Mount>,
    /// The writable layer.
    pub(crate) root: OnceLock<SharedTree>,
    /// The directory tree with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) etc: OnceLock<SharedTree>,
}

/// Files of `/etc` that the engine brings.
const ETC_FILES: [(&str, &str); 3] = [
    ("hostname", "/etc/hostname"),
    ("hosts", "/etc/hosts"),
    ("resolv.conf", "/etc/resolv.conf"),
];

const DEFAULT_SHM_MIB: u64 = 64;

impl MountPlan {
    /// The root file system.
    pub(crate) fn root(&self) -> &SharedTree {
        self.root.get_or_init(|| {
            let mut root = self.image.root.layer(self.disk_limit);
            self.make_mount_points(&mut root);
            root.shared()
        })
    }

    fn etc(&self) -> &SharedTree {
        self.etc.get_or_init(|| etc_tree(&self.config, &self.hostname))
    }

    /// Whether nothing is to be seen but what the image and the config say: no volume, and a root that nobody had.
    pub(crate) fn is_pristine(&self) -> bool {
        self.volumes.is_empty() && self.root.get().is_none()
    }

    /// While it does not run: the root and what lives on beside it.
    pub(crate) fn at_rest(&self) -> Arc<[Mount]> {
        let root = mount("/", self.root(), self.read_only, FsType::Overlay);
        std::iter::once(root)
            .chain(self.volumes.iter().cloned())
            .collect()
    }

    /// While it runs, and those of the trees that count as memory.
    pub(crate) fn running(&self) -> (Arc<[Mount]>, Vec<SharedTree>) {
        let dev = device_tree();
        let shm = tmpfs(0o1777, DEFAULT_SHM_MIB);
        let mut memory = vec![Arc::clone(&dev), Arc::clone(&shm)];
        let mut mounts = Vec::with_capacity(20);
        mounts.push(mount("/", self.root(), self.read_only, FsType::Overlay));
        mounts.push(mount("/proc", &PROC, false, FsType::Proc));
        mounts.push(mount("/dev", &dev, false, FsType::Tmpfs));
        mounts.push(mount("/dev/pts", &EMPTY, true, FsType::Devpts));
        mounts.push(mount("/sys", &SYS, true, FsType::Sysfs));
        mounts.push(mount("/sys/fs/cgroup", &EMPTY, true, FsType::Cgroup));
        mounts.push(mount("/dev/mqueue", &EMPTY, true, FsType::Mqueue));
        mounts.push(mount("/dev/shm", &shm, false, FsType::Tmpfs));
        for (path, kind) in MASKED {
            let tree = if *kind == FsType::Tmpfs { &EMPTY } else { &PROC };
            let root = if *kind == FsType::Tmpfs {
                ROOT
            } else {
                inode_at(&PROC, path)
            };
            mounts.push(Mount {
                root,
                ..mount(path, tree, true, *kind)
            });
        }
        for (name, path) in ETC_FILES {
            mounts.push(Mount {
                root: inode_at(self.etc(), name),
                ..mount(path, self.etc(), false, FsType::Ext4)
            });
        }
        for TmpfsMount { target, size_mib } in self.config.effective_tmpfs() {
            let tree = tmpfs(0o1777, *size_mib);
            memory.push(Arc::clone(&tree));
            mounts.push(Mount {
                target: target.clone().into(),
                ..mount("", &tree, false, FsType::Tmpfs)
            });
        }
        mounts.extend(self.volumes.iter().cloned());
        (mounts.into(), memory)
    }

    /// Makes the directories on which things are mounted, and the working directory, as engines do.
    fn make_mount_points(&self, root: &mut Tree) {
        let tmpfs = self.config.effective_tmpfs();
        let targets = tmpfs.iter().map(|mount| mount.target.as_str());
        let volumes = self.volumes.iter().map(|mount| mount.target.as_ref());
        let working_dir = self
            .config
            .working_dir
            .as_ref()
            .or(self.image.working_dir.as_ref());
        add_mount_points(root);
        for dir in targets.chain(volumes).chain(working_dir.map(String::as_str)) {
            // Where a file or a link is in the way of a mount the path resolves to something else; where a file is in
            // the way of the working directory the start fails.
            let _ = root.make_dirs(dir);
        }
    }
}

/// Places for what every container has mounted. Images have them from the start, so that a container finds them there.
pub(crate) fn add_mount_points(root: &mut Tree) {
    for target in ["/proc", "/sys", "/dev"] {
        let _ = root.make_dirs(target);
    }
    let Ok(etc) = root.make_dirs("/etc") else { return };
    for (name, _) in ETC_FILES {
        if root.lookup(etc, name).is_err() {
            let _ = root.add(etc, name, Inode::file("", 0o644));
        }
    }
}

fn mount(target: &'static str, tree: &SharedTree, read_only: bool, fs_type: FsType) -> Mount {
    Mount {
        target: target.into(),
        tree: Arc::clone(tree),
        root: ROOT,
        read_only,
        fs_type,
    }
}

fn tmpfs(mode: u32, size_mib: u64) -> SharedTree {
    let mut tree = Tree::new(mode);
    tree.set_limit(Some(size_mib * MIB));
    tree.shared()
}

fn inode_at(tree: &SharedTree, path: &str) -> Ino {
    let tree = tree.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    path.trim_start_matches("/proc")
        .split('/')
        .filter(|name| !name.is_empty())
        .try_fold(ROOT, |dir, name| tree.lookup(dir, name))
        .unwrap_or(ROOT)
}

/// The files of `/etc` that the engine brings.
fn etc_tree(config: &ContainerConfig, hostname: &str) -> SharedTree {
    let mut tree = Tree::new(0o755);
    for (name, text) in [
        ("hostname", format!("{hostname}\n")),
        ("hosts", hosts_file(config, hostname)),
        ("resolv.conf", resolv_conf(config)),
    ] {
        let _ = tree.add(ROOT, name, Inode::file(text, 0o644));
    }
    tree.shared()
}

fn hosts_file(config: &ContainerConfig, hostname: &str) -> String {
    let mut hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\t{hostname}\n");
    for (name, address) in &config.extra_hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    hosts
}

fn resolv_conf(config: &ContainerConfig) -> String {
    if config.dns.is_empty() {
        return "nameserver 127.0.0.11\n".to_owned();
    }
    config
        .dns
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect()
}

/// Parts of /proc that are hidden (an empty directory over them) or read-only.
const MASKED: &[(&str, FsType)] = &[
    ("/proc/acpi", FsType::Tmpfs),
    ("/proc/bus", FsType::Proc),
    ("/proc/fs", FsType::Proc),
    ("/proc/irq", FsType::Proc),
    ("/proc/sys", FsType::Proc),
    ("/proc/sysrq-trigger", FsType::Proc),
    ("/proc/scsi", FsType::Tmpfs),
    ("/sys/firmware", FsType::Tmpfs),
];

static EMPTY: LazyLock<SharedTree> = LazyLock::new(|| Tree::new(0o755).shared());

static PROC: LazyLock<SharedTree> = LazyLock::new(|| {
    let mut tree = Tree::new(0o555);
    for dir in ["/acpi", "/bus", "/fs", "/irq", "/scsi", "/self", "/sys/kernel"] {
        let _ = tree.make_dirs(dir);
    }
    let files = [("/", "sysrq-trigger", 0o200), ("/sys/kernel", "hostname", 0o644)];
    // Masked by /dev/null, as engines do: readable, and empty.
    let masked =
        ["kcore", "keys", "latency_stats", "sched_debug", "timer_list"].map(|name| ("/", name, 0o666));
    for (dir, name, mode) in files.into_iter().chain(masked) {
        if let Ok(dir) = tree.make_dirs(dir) {
            let _ = tree.add(dir, name, Inode::file("", mode));
        }
    }
    tree.shared()
});

static SYS: LazyLock<SharedTree> = LazyLock::new(|| {
    let mut tree = Tree::new(0o555);
    for dir in ["/class/net", "/firmware", "/fs/cgroup", "/kernel"] {
        let _ = tree.make_dirs(dir);
    }
    tree.shared()
});

static DEV: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree::new(0o755);
    for (name, minor) in [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ] {
        let _ = tree.add(ROOT, name, Inode::new(Kind::Char(1, minor), 0o666, 0, 0));
    }
    let _ = tree.add(ROOT, "tty", Inode::new(Kind::Char(5, 0), 0o666, 0, 0));
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let _ = tree.add(
            ROOT,
            name,
            Inode::new(Kind::Symlink(target.to_owned()), 0o777, 0, 0),
        );
    }
    for dir in ["/pts", "/shm", "/mqueue"] {
        let _ = tree.make_dirs(dir);
    }
    tree.freeze()
});

/// A `/dev` of its own for a run.
fn device_tree() -> SharedTree {
    DEV.layer(Some(64 * MIB)).shared()
}
