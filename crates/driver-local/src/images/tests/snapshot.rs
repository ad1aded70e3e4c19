//! Snapshots, with overlays as the kernel makes them.

use std::ffi::CString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use driver_local_shim::rootfs::Root;
use driver_types::Labels;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;
use crate::spec::ImageSpec;

/// An overlay that is unmounted when it is dropped.
struct Overlay(PathBuf);

impl Overlay {
    /// Writable where there is a directory for that.
    fn mount(at: &Path, layers: &[String], writable: Option<&Path>) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut lower = layers.to_vec();
        // An overlay has at least two directories.
        if writable.is_none() && lower.len() == 1 {
            let empty = at.with_extension("empty");
            fs::create_dir_all(&empty).unwrap();
            lower.push(empty.to_string_lossy().into_owned());
        }
        let mut options = format!("redirect_dir=off,metacopy=off,lowerdir={}", lower.join(":"));
        if let Some(directory) = writable {
            let (upper, work) = (directory.join("upper"), directory.join("work"));
            for path in [&upper, &work] {
                fs::create_dir_all(path).unwrap();
            }
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        let options = CString::new(options).unwrap();
        mount(
            "overlay",
            at,
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::empty()).unwrap();
    }
}

fn base() -> Tar {
    Tar::new()
        .dir("./")
        .dir("d")
        .file("d/old", "old")
        .file("gone", "")
        .dir("gone-d")
        .file("gone-d/x", "")
        .file("changed", "before")
        .file("same", "same")
}

/// What a container does to its root.
fn work(root: &Path) {
    fs::remove_file(root.join("gone")).unwrap();
    fs::remove_dir_all(root.join("gone-d")).unwrap();
    fs::remove_dir_all(root.join("d")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/new"), "new").unwrap();
    fs::write(root.join("changed"), "after").unwrap();
    fs::set_permissions(root.join("changed"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::write(root.join("one"), "linked").unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    symlink("./..//d/../x", root.join("link")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("/x".repeat(100), root.join("link-to-long")).unwrap();
    let long = format!("{}/{}", "l".repeat(120), "m".repeat(120));
    fs::create_dir(root.join("l".repeat(120))).unwrap();
    fs::write(root.join(long), "long").unwrap();
    fs::write(root.join(bytes(b"odd\n\xff")), "odd").unwrap();
    let place = Root::open(root).unwrap().place(Path::new("one")).unwrap();
    place.set_xattr(OsStr::new("user.k"), b"v\n").unwrap();
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
}

#[test]
fn a_writable_layer() {
    if !is_root() {
        eprintln!("skipped: needs root to mount an overlay");
        return;
    }
    let fixture = Fixture::new();
    let scratch = tempfile::tempdir().unwrap();
    let image = fixture.import(&base().end()).unwrap();
    let base = fixture.store.resolve(&image.id).unwrap().unwrap();
    let container = Overlay::mount(&scratch.path().join("c"), &base.layers, Some(scratch.path()));
    work(&container.0);
    drop(container);
    let labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    let upper = scratch.path().join("upper");
    let snapshot = fixture
        .store
        .snapshot(&base, Some(&upper), "snap:1", &labels)
        .unwrap();
    assert_eq!(snapshot.references, ["snap:1"]);
    assert_eq!(snapshot.labels, labels);

    let spec = fixture.store.resolve("snap:1").unwrap().unwrap();
    assert_eq!((spec.layers.len(), &spec.layers[1]), (2, &base.layers[0]));
    let again = Overlay::mount(&scratch.path().join("again"), &spec.layers, None);
    let root = &again.0;
    let long = "l".repeat(120);
    assert_eq!(
        names(root),
        [
            "absolute",
            "changed",
            "d",
            "link",
            "link-to-long",
            &long,
            "odd\n\u{fffd}",
            "one",
            "same",
            "sparse",
            "two"
        ]
    );
    assert_eq!(names(&root.join("d")), ["new"]);
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!((read("changed"), read("same")), ("after".into(), "same".into()));
    assert_eq!(read(&format!("{long}/{}", "m".repeat(120))), "long");
    assert_eq!(
        fs::metadata(root.join("changed")).unwrap().mode() & 0o7777,
        0o4711
    );
    assert_eq!(
        fs::read_link(root.join("link")).unwrap().as_os_str(),
        "./..//d/../x"
    );
    assert_eq!(
        fs::read_link(root.join("absolute")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(
        fs::read_link(root.join("link-to-long"))
            .unwrap()
            .as_os_str()
            .len(),
        200
    );
    assert_eq!(fs::metadata(root.join("one")).unwrap().nlink(), 2);
    let place = Root::open(root).unwrap().place(Path::new("two")).unwrap();
    assert_eq!(place.xattr(OsStr::new("user.k")).unwrap().unwrap(), b"v\n");
    let mut sparse = Vec::new();
    let mut file = fs::File::open(root.join("sparse")).unwrap();
    file.read_to_end(&mut sparse).unwrap();
    assert!(sparse.len() == (8 << 20) + 3 && sparse.ends_with(b"\0end"));
    assert!(
        file.metadata().unwrap().blocks() * 512 < 1 << 20,
        "holes stay holes"
    );
    assert!(names(&fixture.store.tmp()).is_empty());
}

#[test]
fn a_read_only_container_has_the_layers_of_its_image() {
    let fixture = Fixture::new();
    let image = fixture.import(&base().end()).unwrap();
    let base = fixture.store.resolve(&image.id).unwrap().unwrap();
    fixture
        .store
        .snapshot(&base, None, "snap:1", &Labels::new())
        .unwrap();
    let spec = fixture.store.resolve("snap:1").unwrap().unwrap();
    assert_eq!(spec.layers, base.layers);
    // The layer is needed as long as one of them is there.
    fixture.store.remove(&image.id, |_| Ok(None)).unwrap();
    assert!(Path::new(&spec.layers[0]).exists());
}

#[test]
fn a_layer_that_is_too_large() {
    let fixture = Fixture::with_limits(Limits {
        entries: 100,
        bytes: 1 << 20,
        depth: 8,
    });
    let image = fixture.import(&base().end()).unwrap();
    let base = fixture.store.resolve(&image.id).unwrap().unwrap();
    let before = fixture.left();
    let upper = tempfile::tempdir().unwrap();
    fs::File::create(upper.path().join("huge"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let error = fixture
        .store
        .snapshot(&base, Some(upper.path()), "snap:1", &Labels::new())
        .unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    assert_eq!(fixture.left(), before);
}

#[test]
fn a_container_of_the_host() {
    let fixture = Fixture::new();
    let error = fixture
        .store
        .snapshot(&ImageSpec::default(), None, "snap:1", &Labels::new())
        .unwrap_err();
    assert_eq!(error.code(), "CONFIGURATION_ERROR");
}
