//! Files of ids that this process gives a namespace. It takes root to do that without `newuidmap`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use driver_local_shim::rootfs::Root;
use driver_local_shim::{IdMap, LAYER_ROOT, Limits};
use rustix::process::geteuid;
use tar::{Builder, Header};

use super::*;

/// Where the ids of the namespace begin outside of it.
const FIRST: u32 = 100_000;

struct Fixture {
    directory: tempfile::TempDir,
    worker: FileWorker,
}

impl Fixture {
    /// `None`, with the reason printed, for who is not root.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: it takes root to give a namespace ids");
            return None;
        }
        let map = || {
            vec![IdMap {
                inside: 0,
                outside: FIRST,
                count: 65_536,
            }]
        };
        let user = UserNamespace {
            uids: map(),
            gids: map(),
            by_helpers: false,
        };
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join(LAYER_ROOT);
        fs::create_dir(&root).unwrap();
        for path in [directory.path(), &root] {
            chown(path, Some(FIRST), Some(FIRST)).unwrap();
        }
        let shim = Shim::load().unwrap();
        Some(Self {
            directory,
            worker: FileWorker { shim, user },
        })
    }

    fn root(&self) -> Root {
        Root::open(&self.path(LAYER_ROOT)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn unpack(&self, tar: impl Read) -> Result<u64> {
        let work = FileWork::UnpackLayer(Limits::default());
        let layer = Root::open(self.directory.path()).unwrap();
        self.worker.unpack(layer, work).unwrap().feed(tar)
    }
}

/// A file that only its owner may read.
fn tar(uid: u32) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(uid.into());
    header.set_gid(8);
    header.set_mtime(0);
    header.set_size(6);
    let mut tar = Builder::new(Vec::new());
    tar.append_data(&mut header, "closed", b"secret".as_slice())
        .unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn files_are_their_owners_and_come_back_as_they_were() {
    let Some(fixture) = Fixture::new() else { return };
    assert_eq!(fixture.unpack(tar(7).as_slice()).unwrap(), 6);
    let made = fs::metadata(fixture.path("root/closed")).unwrap();
    assert_eq!((made.uid(), made.gid()), (FIRST + 7, FIRST + 8));
    assert_eq!(made.permissions().mode() & 0o7777, 0o600);
    let mut packed = Vec::new();
    let work = FileWork::PackCopy("/closed".to_owned());
    let packing = fixture.worker.pack(fixture.root(), work).unwrap();
    packing.drain(&mut packed).unwrap();
    assert!(packed == tar(7), "{}", packed.escape_ascii());
}

#[test]
fn an_owner_that_the_namespace_does_not_have_is_told() {
    let Some(fixture) = Fixture::new() else { return };
    let error = fixture.unpack(tar(70_000).as_slice()).unwrap_err().to_string();
    assert!(
        error.contains("cannot unpack closed") && error.contains("70000:8 does not exist here"),
        "{error}"
    );
}

#[test]
fn what_the_source_fails_with_is_told_as_it_is() {
    let Some(fixture) = Fixture::new() else { return };
    let own = io::Error::other(DriverError::file_system("the caller's"));
    let tar = tar(7);
    let source = tar[..700].chain(Failing(Some(own)));
    let error = fixture.unpack(source).unwrap_err();
    assert_eq!(
        error.to_string(),
        DriverError::file_system("the caller's").to_string()
    );
}

struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[test]
fn what_is_missing_is_told_before_the_first_byte() {
    let Some(fixture) = Fixture::new() else { return };
    for work in [
        FileWork::PackCopy("/missing".to_owned()),
        FileWork::UnpackCopy("/missing".to_owned()),
    ] {
        let begun = match &work {
            FileWork::PackCopy(_) => fixture.worker.pack(fixture.root(), work).map(drop),
            _ => fixture.worker.unpack(fixture.root(), work).map(drop),
        };
        assert_eq!(begun.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// Somebody reads the beginning and goes away: the shim ends by itself.
#[test]
fn a_reader_that_goes_away_ends_the_packing() {
    let Some(fixture) = Fixture::new() else { return };
    let large = fs::File::create(fixture.path("root/large")).unwrap();
    large.set_len(8 << 20).unwrap();
    let packing = fixture.worker.pack(fixture.root(), FileWork::PackLayer).unwrap();
    let Packing { mut socket, tar } = packing;
    drop(tar);
    let report: Report = decode(&mut socket).unwrap();
    assert!(matches!(report, Report::Failed { errno: _, .. }), "{report:?}");
}

/// Else a layer could be swept while the shim of a dead driver is at it.
#[test]
fn what_is_unpacked_into_is_locked_as_long_as_the_shim_lives() {
    use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
    let Some(fixture) = Fixture::new() else { return };
    let directory = || open(fixture.directory.path(), OFlags::RDONLY, Mode::empty()).unwrap();
    let locked = directory();
    flock(&locked, FlockOperation::LockExclusive).unwrap();
    let work = FileWork::UnpackLayer(Limits::default());
    let Unpacking { mut socket, tar } = fixture.worker.unpack(&locked, work).unwrap();
    drop(locked);
    let other = directory();
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap_err();
    // As where the driver is killed: nothing more comes.
    drop(tar);
    let report: Report = decode(&mut socket).unwrap();
    assert!(matches!(report, Report::Failed { .. }), "{report:?}");
    flock(&other, FlockOperation::LockExclusive).unwrap();
}
