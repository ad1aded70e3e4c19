//! Tests of the store, with archives as a stranger would make them.

#![allow(clippy::unwrap_used)]

mod host;
mod hostile;
mod load;
#[cfg(feature = "pull")]
mod pull;
#[cfg(feature = "pull")]
mod registry;
mod snapshot;
mod store;
mod tar_kinds;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use driver_types::{Image, ImportOptions, Result};
use tar::{EntryType, Header};

use super::ImageStore;
use crate::layout::Layout;
use driver_local_shim::Limits;

/// A tar whose headers say whatever a test wants.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn new() -> Self {
        Self::default()
    }

    fn entry(
        mut self,
        kind: EntryType,
        path: impl AsRef<[u8]>,
        link: impl AsRef<[u8]>,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.as_ref().len()].copy_from_slice(path.as_ref());
        old.linkname[..link.as_ref().len()].copy_from_slice(link.as_ref());
        self.header(header);
        self.data(content)
    }

    fn header(&mut self, mut header: Header) {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn data(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: impl AsRef<[u8]>, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_bytes())
    }

    fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    fn hard_link(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    /// PAX records for the next entry.
    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..)
                .find(|length| length - length.to_string().len() == rest)
                .unwrap();
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", &content)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A store in a directory of its own, with a canary beside it.
struct Fixture {
    directory: tempfile::TempDir,
    store: ImageStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("canary"), "outside").unwrap();
        let store = ImageStore::open(&Layout::new(directory.path().join("state"))).unwrap();
        Self { directory, store }
    }

    fn with_limits(limits: Limits) -> Self {
        let mut fixture = Self::new();
        fixture.store.limits = limits;
        fixture
    }

    /// Another handle, as another process has it.
    fn other(&self) -> ImageStore {
        ImageStore::open(&Layout::new(self.directory.path().join("state"))).unwrap()
    }

    fn import(&self, tar: &[u8]) -> Result<Image> {
        self.store.import(&ImportOptions::new("test/image:1"), tar)
    }

    /// Imports, and returns where the content of the topmost layer is.
    fn unpack(&self, tar: Tar) -> Result<PathBuf> {
        let image = self.import(&tar.end())?;
        Ok(self.store.resolve(&image.id)?.unwrap().layers[0].clone().into())
    }

    /// Everything that the store has on disk besides its own files, and that the canary is as it was.
    fn left(&self) -> Vec<String> {
        assert_eq!(
            fs::read_to_string(self.directory.path().join("canary")).unwrap(),
            "outside"
        );
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 2);
        ["tmp", "layers", "configs"]
            .into_iter()
            .flat_map(|name| names(&self.store.dir().join(name)))
            .collect()
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
