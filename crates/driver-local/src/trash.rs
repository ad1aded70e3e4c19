//! What is being deleted: renamed into `trash/` at once, emptied in the background, and by `recover` after a crash.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use driver_local_shim::rootfs::{Place, Root};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::layout::Layout;

/// For so long whoever removed something has the processors to itself.
const AFTER: Duration = Duration::from_millis(5);

/// Lets a directory vanish; its content is deleted in the background where there is a tokio runtime, else at once.
///
/// # Errors
///
/// `NotFound` where it is not there; those of the file system.
pub(crate) fn put(layout: &Layout, path: &Path) -> io::Result<()> {
    let name = crate::id::random()?;
    fs::rename(path, layout.trash().join(&name))?;
    let layout = layout.clone();
    let delete = move |pause| {
        std::thread::sleep(pause);
        await_shim(&layout.trash().join(&name));
        if let Err(error) = delete(&layout, &name) {
            tracing::warn!(%error, "what was removed is left in the trash for recover");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || delete(AFTER))),
        Err(_) => delete(Duration::ZERO),
    }
    Ok(())
}

/// Deletes everything in the trash.
///
/// # Errors
///
/// The first of the file system; the rest is deleted all the same.
pub(crate) fn empty(layout: &Layout) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(layout.trash())? {
        if let Some(name) = entry?.file_name().to_str() {
            result = result.and(delete_beside_others(layout, name));
        }
    }
    result
}

/// Whoever put it there may be deleting it too, and a shim that is about to end may write in it: what is gone in the middle is no
/// error, nor what came meanwhile, and the rest is looked for again.
fn delete_beside_others(layout: &Layout, name: &str) -> io::Result<()> {
    const TRIES: usize = 1000;
    const PAUSE: Duration = Duration::from_millis(1);
    let mut deleted = delete(layout, name);
    for _ in 1..TRIES {
        match deleted.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => std::thread::sleep(PAUSE),
            _ => break,
        }
        deleted = delete(layout, name);
    }
    deleted
}

/// Waits for a shim that is about to end: while it closes what it has open, the kernel would spin over what is deleted.
fn await_shim(directory: &Path) {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = openat(CWD, directory.join("shim.lock"), flags, Mode::empty());
    if let Ok(lock) = lock {
        let _ = flock(lock, FlockOperation::LockExclusive);
    }
}

/// Symbolic links are removed and never followed, and the depth does not matter: the tree may be a container's.
fn delete(layout: &Layout, name: &str) -> io::Result<()> {
    let trash = Root::open(&layout.trash())?;
    let place = Place::new(trash.dir(Path::new("/"))?, name.as_ref());
    let place = place.ok_or(io::ErrorKind::InvalidInput)?;
    let mut removed = place.remove_all();
    if let (Err(error), Some(worker)) = (&removed, layout.file_worker())
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        removed = worker.remove(&layout.trash(), name);
    }
    removed.map_err(|error| {
        let path = layout.trash().join(name);
        let path = path.display();
        let message = if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
            format!("{path}: something in it must not be changed; `chattr -R -f -i -a {path}` allows it")
        } else {
            format!("{path}: {error}")
        };
        io::Error::new(error.kind(), message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;
    use std::sync::Barrier;

    use super::*;

    /// Only root can set it, and not every file system has it.
    #[test]
    fn what_is_immutable_is_told_and_the_rest_goes() {
        use rustix::fs::{IFlags, ioctl_setflags};
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        layout.prepare().unwrap();
        let kept = layout.trash().join("tree/kept");
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::write(layout.trash().join("other"), "").unwrap();
        let file = fs::File::create(&kept).unwrap();
        if ioctl_setflags(&file, IFlags::IMMUTABLE).is_err() {
            println!("skipped: the attribute `immutable` cannot be set");
            return;
        }
        let error = empty(&layout).unwrap_err().to_string();
        ioctl_setflags(&file, IFlags::empty()).unwrap();
        assert!(
            error.contains("chattr") && error.contains("trash/tree"),
            "{error}"
        );
        assert!(kept.exists() && !layout.trash().join("other").exists());
        empty(&layout).unwrap();
        assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 0);
    }

    /// As by a shim that has not heard yet that its container is gone.
    #[test]
    fn what_is_written_meanwhile_goes_too() {
        const ROUNDS: usize = 60;
        const WRITERS: usize = 4;
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        layout.prepare().unwrap();
        for _ in 0..ROUNDS {
            let tree = layout.trash().join("tree");
            fs::create_dir(&tree).unwrap();
            let begin = Barrier::new(WRITERS + 1);
            std::thread::scope(|scope| {
                for writer in 0..WRITERS {
                    let (tree, begin) = (&tree, &begin);
                    scope.spawn(move || {
                        begin.wait();
                        (0..100).for_each(|file| drop(fs::write(tree.join(format!("{writer}.{file}")), "")));
                    });
                }
                begin.wait();
                empty(&layout).unwrap();
            });
            assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_tree_vanishes_and_what_it_points_to_stays() {
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        layout.prepare().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let tree = layout.containers().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(outside.path(), tree.join("a/link")).unwrap();
        put(&layout, &tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(put(&layout, &tree).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(layout.trash().join("left/behind")).unwrap();
        empty(&layout).unwrap();
        assert_eq!(fs::read_dir(layout.trash()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }
}
