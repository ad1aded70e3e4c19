//! What is being deleted: renamed into `trash/` at once, emptied in the background, and by `recover` after a crash.

use std::fs;
use std::io;
use std::path::Path;

use crate::layout::Layout;
use crate::rootfs::{Place, Root};

/// Lets a directory vanish; its content is deleted in the background where there is a tokio runtime, else at once.
///
/// # Errors
///
/// `NotFound` where it is not there; those of the file system.
pub(crate) fn put(layout: &Layout, path: &Path) -> io::Result<()> {
    let name = crate::id::random()?;
    fs::rename(path, layout.trash().join(&name))?;
    let layout = layout.clone();
    let delete = move || {
        if let Err(error) = delete(&layout, &name) {
            tracing::warn!(%error, "what was removed is left in the trash for recover");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(delete)),
        Err(_) => delete(),
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
            result = result.and(delete(layout, name));
        }
    }
    result
}

/// Symbolic links are removed and never followed, and the depth does not matter: the tree may be a container's.
fn delete(layout: &Layout, name: &str) -> io::Result<()> {
    let trash = Root::open(&layout.trash())?;
    let place = Place::new(trash.dir(Path::new("/"))?, name.as_ref());
    place.ok_or(io::ErrorKind::InvalidInput)?.remove_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

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
