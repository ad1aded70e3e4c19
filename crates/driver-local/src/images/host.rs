//! The image `host`: the host's own programs and libraries, read-only, without what is the host's business.
//!
//! It is a layer with the frame of a root file system, and directories of the host that are bound into it:
//!
//! - `/usr` but for `etc` in it and in `/usr/local`: the places for configuration of this host, which may have credentials.
//!   The rest of `/usr` is to be shareable between hosts (FHS 4.1). A file there that only root may read can be read by a
//!   container that runs as root, and by no other; the default user of containers is 1000.
//! - `/bin`, `/lib` and the like where they are directories; where they are links into `/usr`, they are links.
//! - `/nix/store` and `/gnu/store`, where a host has its programs there; all of it is public by design.
//! - Of `/etc`: names of users of its own, and copies of the public files that programs need to run at all. Copied is what
//!   everybody may read and what has no private key.
//!
//! Not in it: `/home`, `/root`, `/var`, `/run`, `/opt`, `/srv`, `/boot`, and everything else.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::layers::{Draft, sync_directory};
use super::source::digest_of;
use super::store::ImageStore;
use crate::spec::ImageSpec;

/// Changes with what this file makes.
const VERSION: &str = "1";

/// Directories of the root, and their permissions.
const FRAME: [(&str, u32); 10] = [
    ("proc", 0o755),
    ("sys", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("run", 0o755),
    ("var", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
    ("home", 0o755),
    ("home/user", 0o755),
];

/// The user of `user` and `home/user`: the one that containers run as by default.
const USER: u32 = 1000;

/// Files of its own. The empty ones are there for the driver to bind its own over them.
const FILES: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         user:x:1000:1000:user:/home/user:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\n",
    ),
    ("etc/hosts", ""),
    ("etc/hostname", ""),
    ("etc/resolv.conf", ""),
];

/// Directories at the top that have programs: bound, or the same link.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Further directories that are bound.
const STORES: [&str; 2] = ["nix/store", "gnu/store"];

/// What is copied, where it exists: the loader's paths, names of programs, certificates, time zone, and what the runtimes of
/// Java and Perl keep in `/etc`.
const PUBLIC: [&str; 24] = [
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/alternatives",
    "etc/ssl/certs",
    "etc/ssl/cert.pem",
    "etc/ssl/openssl.cnf",
    "etc/pki/ca-trust/extracted",
    "etc/pki/tls/certs",
    "etc/pki/tls/openssl.cnf",
    "etc/crypto-policies",
    "etc/localtime",
    "etc/timezone",
    "etc/os-release",
    "etc/protocols",
    "etc/services",
    "etc/mime.types",
    "etc/locale.alias",
    "etc/fonts",
    "etc/perl",
    "etc/java-11-openjdk",
    "etc/java-17-openjdk",
    "etc/java-21-openjdk",
    "etc/java-25-openjdk",
];

/// Directories that distributions make and leave empty: each mount costs the start of a container. Only these are looked
/// into, as looking into a large one costs more than it would save.
const EMPTY: [&str; 9] = [
    "usr/games",
    "usr/src",
    "usr/local/bin",
    "usr/local/games",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/libexec",
    "usr/local/sbin",
    "usr/local/src",
];

/// A file of `/etc` that is larger is not copied; bundles of certificates have a fifth of it.
const MAX_FILE: u64 = 8 << 20;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container of the image is made of. Its layer is made when there is none, or what the host has is another thing.
pub(super) fn resolve(store: &ImageStore) -> io::Result<ImageSpec> {
    let host = Host::look(Path::new("/"))?;
    let layer = host.layer(store)?;
    Ok(ImageSpec {
        layers: vec![layer.to_string_lossy().into_owned()],
        host_paths: host.bound.iter().map(|path| format!("/{path}")).collect(),
        command: vec!["sh".to_owned()],
        env: vec![PATH.to_owned()],
        working_dir: Some("/".to_owned()),
        ..ImageSpec::default()
    })
}

/// What this host has. Paths are relative to its root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    root: PathBuf,
    /// Directories to bind.
    bound: BTreeSet<String>,
    /// Symbolic links, and where they point to.
    links: Vec<(String, PathBuf)>,
}

impl Host {
    pub(super) fn look(root: &Path) -> io::Result<Self> {
        let mut host = Self {
            root: root.to_owned(),
            bound: BTreeSet::new(),
            links: Vec::new(),
        };
        PROGRAMS.iter().chain(&STORES).for_each(|name| host.add(name));
        host.add_children("usr", &["etc", "local"])?;
        host.add_children("usr/local", &["etc"])?;
        Ok(host)
    }

    fn add(&mut self, path: &str) {
        let place = self.root.join(path);
        if let Ok(target) = fs::read_link(&place) {
            self.links.push((path.to_owned(), target));
        } else if place.is_dir() {
            self.bound.insert(path.to_owned());
        }
    }

    fn add_children(&mut self, directory: &str, but: &[&str]) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            // A name that is not Unicode is no directory of the standard.
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let path = format!("{directory}/{name}");
            let empty = || EMPTY.contains(&path.as_str()) && is_empty(&self.root.join(&path));
            if !but.contains(&name.as_str()) && !empty() {
                self.add(&path);
            }
        }
        self.links.sort();
        Ok(())
    }

    /// Changes when the layer has to be made again.
    fn fingerprint(&self) -> String {
        let mut text = format!("{VERSION}\n{:?}\n{:?}\n", self.bound, self.links);
        for path in PUBLIC {
            if let Ok(found) = fs::symlink_metadata(self.root.join(path)) {
                let (mtime, nanos) = (found.mtime(), found.mtime_nsec());
                text += &format!("{path} {} {} {mtime}.{nanos}\n", found.ino(), found.size());
            }
        }
        digest_of(text.as_bytes())[..32].to_owned()
    }

    /// The directory of the layer.
    fn layer(&self, store: &ImageStore) -> io::Result<PathBuf> {
        let place = store.dir().join(format!("host-{}", self.fingerprint()));
        let root = place.join("root");
        if root.exists() {
            return Ok(root);
        }
        let draft = Draft::new(store)?;
        self.make(&draft.root()?.0)?;
        rustix::fs::syncfs(fs::File::open(draft.path())?)?;
        // Without the exclusive lock: the caller may hold the shared one. Another may have been faster with the same.
        match fs::rename(draft.path(), &place) {
            Err(error) if !root.exists() => return Err(error),
            _ => sync_directory(store.dir())?,
        }
        Ok(root)
    }

    pub(super) fn make(&self, root: &Path) -> io::Result<()> {
        for (path, mode) in FRAME {
            make_directory(&root.join(path))?;
            fs::set_permissions(root.join(path), Permissions::from_mode(mode))?;
        }
        if rustix::process::geteuid().is_root() {
            chown(root.join("home/user"), Some(USER), Some(USER))?;
        }
        for (path, content) in FILES {
            fs::write(root.join(path), content)?;
            fs::set_permissions(root.join(path), Permissions::from_mode(0o644))?;
        }
        symlink("/proc/self/mounts", root.join("etc/mtab"))?;
        for path in &self.bound {
            make_directory(&root.join(path))?;
        }
        for (path, target) in &self.links {
            make_directory(root.join(path).parent().unwrap_or(root))?;
            symlink(target, root.join(path))?;
        }
        for path in PUBLIC {
            self.copy(path, root)?;
        }
        Ok(())
    }

    /// Copies what is public of a file or directory of the host: links as they are, wherever they point to.
    fn copy(&self, path: &str, root: &Path) -> io::Result<()> {
        let (from, to) = (self.root.join(path), root.join(path));
        let Ok(found) = fs::symlink_metadata(&from) else {
            return Ok(());
        };
        let everybody = |bits: u32| found.mode() & bits == bits;
        let parent = to.parent().unwrap_or(root);
        if found.is_symlink() {
            make_directory(parent)?;
            return symlink(fs::read_link(&from)?, to);
        }
        if found.is_dir() && everybody(0o005) {
            make_directory(&to)?;
            for entry in fs::read_dir(&from)? {
                if let Ok(name) = entry?.file_name().into_string() {
                    self.copy(&format!("{path}/{name}"), root)?;
                }
            }
        } else if found.is_file() && everybody(0o004) && found.size() <= MAX_FILE {
            let content = fs::read(&from)?;
            if !has_private_key(&content) {
                make_directory(parent)?;
                fs::write(&to, content)?;
                fs::set_permissions(&to, Permissions::from_mode(0o644))?;
            }
        }
        Ok(())
    }
}

fn has_private_key(content: &[u8]) -> bool {
    let mark = b"PRIVATE KEY-----";
    content.windows(mark.len()).any(|window| window == mark)
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Makes a directory and those above it, open to everybody whatever the umask.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(path.parent().ok_or(error)?)?;
            make_directory(path)
        }
        Err(error) => Err(error),
    }
}

impl ImageStore {
    /// Removes the layers of `host` that the host has outgrown, unless `used` says of one that a container has it.
    pub(crate) fn remove_old_hosts(&self, used: impl Fn(&str) -> bool) -> io::Result<()> {
        let current = format!("host-{}", Host::look(Path::new("/"))?.fingerprint());
        let locked = self.lock(FlockOperation::LockExclusive)?;
        let mut discarded = Vec::new();
        for entry in fs::read_dir(self.dir())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let layer = entry.path().join("root");
            if name.starts_with("host-") && name != current && !used(&layer.to_string_lossy()) {
                discarded.push(self.discard(&locked, &entry.path())?);
            }
        }
        drop(locked);
        Ok(())
    }
}
