//! Volumes of several drivers on one state directory.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Barrier;
use std::thread;

use super::*;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Layout::new(directory.path()).prepare().unwrap();
        Self { directory }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.directory.path())
    }

    /// As another process has it: only files are shared.
    fn of(&self, owner: &str) -> Volumes {
        Volumes::new(&self.layout(), owner)
    }

    fn trashed(&self) -> usize {
        fs::read_dir(self.layout().trash()).unwrap().count()
    }
}

fn unused(_: &str) -> Result<Option<String>> {
    Ok(None)
}

#[test]
fn the_same_again_is_the_same_and_another_spec_is_refused() {
    let fixture = Fixture::new();
    let config = VolumeConfig::new("data").label("kept", "yes");
    let (volume, new) = fixture.of("me").create(&config).unwrap();
    assert!(new);
    assert_eq!(fixture.of("me").create(&config).unwrap(), (volume.clone(), false));
    let error = fixture.of("me").create(&VolumeConfig::new("data")).unwrap_err();
    assert_eq!(error.code(), "VOLUME_CREATION_FAILED");
    assert!(
        !error.is_retryable() && error.to_string().contains("data"),
        "{error}"
    );
    assert_eq!(fixture.of("me").list().unwrap(), [volume]);
}

#[test]
fn any_user_may_write_and_nobody_looks_in_from_beside() {
    let fixture = Fixture::new();
    let volumes = fixture.of("me");
    volumes.create(&VolumeConfig::new("data")).unwrap();
    let data = volumes.data("data");
    assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    assert_eq!(
        fs::metadata(data.parent().unwrap()).unwrap().mode() & 0o7777,
        0o711
    );
}

#[test]
fn owners_do_not_see_each_other() {
    let fixture = Fixture::new();
    let (me, you) = (fixture.of("me"), fixture.of("you"));
    let (mine, _) = me.create(&VolumeConfig::new("data")).unwrap();
    assert_eq!(you.get("data").unwrap(), None);
    assert_eq!(you.get(&mine.id).unwrap(), None);
    assert_eq!(
        you.remove(&mine.id, unused).unwrap_err().code(),
        "VOLUME_NOT_FOUND"
    );
    let (yours, _) = you.create(&VolumeConfig::new("data").label("a", "b")).unwrap();
    assert_ne!(mine.id, yours.id);
    let mut all = me.of_all_owners().unwrap();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all, [("me".to_owned(), mine), ("you".to_owned(), yours)]);
}

#[test]
fn the_content_goes_with_the_volume() {
    let fixture = Fixture::new();
    let volumes = fixture.of("me");
    let outside = tempfile::tempdir().unwrap();
    let (volume, _) = volumes.create(&VolumeConfig::new("data")).unwrap();
    fs::write(volumes.data("data").join("file"), "x").unwrap();
    symlink(outside.path(), volumes.data("data").join("link")).unwrap();
    assert_eq!(volumes.remove(&volume.id, unused).unwrap(), "data");
    assert_eq!(volumes.list().unwrap(), []);
    assert_eq!(fixture.trashed(), 0);
    assert!(outside.path().exists());
    let (new, _) = volumes.create(&VolumeConfig::new("data")).unwrap();
    assert_ne!(new.id, volume.id);
    assert_eq!(fs::read_dir(volumes.data("data")).unwrap().count(), 0);
}

#[test]
fn one_that_is_used_stays() {
    let fixture = Fixture::new();
    let volumes = fixture.of("me");
    let (volume, _) = volumes.create(&VolumeConfig::new("data")).unwrap();
    let asked = Cell::new(false);
    let user = |name: &str| {
        asked.set(true);
        assert_eq!(name, "data");
        Ok(Some("web".to_owned()))
    };
    let error = volumes.remove(&volume.id, user).unwrap_err();
    assert_eq!(error.code(), "VOLUME_REMOVE_FAILED");
    assert!(asked.get());
    let text = error.to_string();
    assert!(text.contains("web") && text.contains("data"), "{text}");
    let broken = volumes.remove("data", |_| Err(DriverError::internal("unknown")));
    assert!(broken.is_err());
    assert_eq!(volumes.list().unwrap(), [volume]);
}

/// Of many that make a volume at the same time, one does, and all get that one.
#[test]
fn racing_creates() {
    let fixture = Fixture::new();
    let barrier = Barrier::new(8);
    for round in 0..20 {
        let config = VolumeConfig::new(format!("data-{round}"));
        let made: Vec<(Volume, bool)> = thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        fixture.of("me").create(&config).unwrap()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
        assert!(made.iter().all(|(volume, _)| *volume == made[0].0));
    }
    assert_eq!(fixture.trashed(), 0);
    let names = fs::read_dir(fixture.layout().volumes().join("me")).unwrap();
    assert_eq!(names.count(), 20);
}

/// A removal asks for users while nobody holds volumes, and nobody removes while somebody does: so a container that is being
/// made is seen, or sees.
#[test]
fn removals_and_holders_wait_for_each_other() {
    let fixture = Fixture::new();
    let volumes = fixture.of("me");
    volumes.create(&VolumeConfig::new("data")).unwrap();
    let try_lock = |operation| fixture.of("you").lock(operation).map(drop).is_ok();
    let (shared, alone) = (
        FlockOperation::NonBlockingLockShared,
        FlockOperation::NonBlockingLockExclusive,
    );
    let held = volumes.hold().unwrap();
    assert!(try_lock(shared) && !try_lock(alone));
    drop(held);
    let user = |_: &str| {
        assert!(!try_lock(shared));
        Ok(Some("web".to_owned()))
    };
    volumes.remove("data", user).unwrap_err();
    volumes.remove_of("me", "data", user).unwrap_err();
    assert!(try_lock(alone));
}

#[test]
fn what_a_dead_maker_left_is_swept() {
    let fixture = Fixture::new();
    let volumes = fixture.of("me");
    let (volume, _) = volumes.create(&VolumeConfig::new("data")).unwrap();
    let left = fixture.layout().volumes().join("me/.new-0123");
    fs::create_dir_all(left.join("data")).unwrap();
    assert_eq!(volumes.list().unwrap(), std::slice::from_ref(&volume));
    volumes.sweep().unwrap();
    assert!(!left.exists());
    assert_eq!(fixture.trashed(), 0);
    assert_eq!(volumes.list().unwrap(), [volume]);
}
