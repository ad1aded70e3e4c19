//! The lowest layer of every root: the places that something is mounted at in each container, for images that lack them. Made
//! once, where Docker has its init layer; else each container would have them in its writable layer, and a snapshot of it too.
//! And the topmost one of read-only roots, which tells the rights of the root itself in place of a writable layer.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The files of `/etc` that the driver writes for each container.
pub(crate) const ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Makes what is missing of it. A repeat does nothing.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn make(layer: &Path, top: &Path) -> io::Result<()> {
    // Whatever the umask: users of containers pass through.
    let permit = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    let places = ["", "proc", "sys", "dev", "etc"].map(|name| layer.join(name));
    for directory in places.iter().map(PathBuf::as_path).chain([top]) {
        fs::create_dir_all(directory)?;
        permit(directory, 0o755)?;
    }
    ETC.iter().try_for_each(|name| {
        let file = layer.join("etc").join(name);
        OpenOptions::new().append(true).create(true).open(&file)?;
        permit(&file, 0o644)
    })
}
