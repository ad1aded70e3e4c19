//! No path leaves the root.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rstest::rstest;

use super::*;

/// A root with a file `inside`, links that lead out of it, and a canary beside it.
fn root() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(directory.path().join("canary"), "outside").unwrap();
    fs::write(root.join("canary"), "inside").unwrap();
    symlink("/", root.join("dir/root")).unwrap();
    symlink("../../..", root.join("dir/up")).unwrap();
    symlink(directory.path().join("canary"), root.join("absolute")).unwrap();
    symlink("nowhere/at/all", root.join("dangling")).unwrap();
    let opened = Root::open(&root).unwrap();
    (directory, opened)
}

fn read(root: &Root, path: &str) -> io::Result<String> {
    io::read_to_string(File::from(root.open_in(Path::new(path), OFlags::RDONLY)?))
}

#[rstest]
#[case("canary")]
#[case("/canary")]
#[case("../canary")]
#[case("dir/../../../canary")]
#[case("dir/root/canary")]
#[case("dir/up/canary")]
fn no_path_leaves_the_root(#[case] path: &str) {
    let (_directory, root) = root();
    assert_eq!(read(&root, path).unwrap(), "inside");
    let place = root.place(Path::new(path)).unwrap();
    place.remove_all().unwrap();
    assert!(place.stat().unwrap().is_none());
    assert!(_directory.path().join("canary").exists());
}

#[test]
fn a_link_to_a_path_of_the_host_is_one_in_the_root() {
    let (_directory, root) = root();
    assert_eq!(
        read(&root, "absolute").unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[rstest]
#[case("")]
#[case("/")]
#[case("dir/..")]
#[case("..")]
fn no_last_component(#[case] path: &str) {
    let (_directory, root) = root();
    let error = root.place(Path::new(path)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    root.dir(Path::new(path)).unwrap();
}

#[rstest]
#[case("new/a/b", Some("new/a/b"))]
#[case("/dir/root/new", Some("new"))]
#[case("dir/up/new/../x", Some("x"))]
#[case("dir", Some("dir"))]
#[case("dangling/x", None)]
#[case("canary/x", None)]
fn mkdir_all(#[case] path: &str, #[case] made: Option<&str>) {
    let (directory, root) = root();
    let result = root.mkdir_all(Path::new(path), Mode::from(0o777));
    match made {
        Some(made) => {
            result.unwrap();
            let made = directory.path().join("root").join(made);
            assert!(fs::symlink_metadata(made).unwrap().is_dir());
        }
        None => drop(result.unwrap_err()),
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn the_mode_of_a_directory_does_not_depend_on_the_umask() {
    let (directory, root) = root();
    root.place(Path::new("tmp"))
        .unwrap()
        .mkdir(Mode::from(0o1777))
        .unwrap();
    let mode = fs::metadata(directory.path().join("root/tmp"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o1777);
}

#[test]
fn a_link_at_the_end_is_itself() {
    let (directory, root) = root();
    let place = root.place(Path::new("absolute")).unwrap();
    assert_eq!(place.file_type().unwrap(), Some(FileType::Symlink));
    assert!(place.chmod(Mode::from(0o777)).is_err());
    assert!(place.create(Mode::from(0o600)).is_err());
    assert!(place.open(OFlags::RDONLY).is_err());
    let other = root.place(Path::new("other")).unwrap();
    other.link(&place).unwrap();
    assert_eq!(other.read_link().unwrap(), directory.path().join("canary"));
    place.remove_all().unwrap();
    assert_eq!(
        fs::read_to_string(directory.path().join("canary")).unwrap(),
        "outside"
    );
}

#[rstest]
#[case("name", true)]
#[case("a\nb", true)]
#[case("", false)]
#[case(".", false)]
#[case("..", false)]
#[case("a/b", false)]
#[case("a/", false)]
#[case("/", false)]
fn a_place_is_one_component(#[case] name: &str, #[case] good: bool) {
    let (_directory, root) = root();
    let parent = root.dir(Path::new("dir")).unwrap();
    assert_eq!(Place::new(parent, OsStr::new(name)).is_some(), good);
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    let (directory, root) = root();
    let top = root.place(Path::new("dir/deep")).unwrap();
    top.mkdir(Mode::RWXU).unwrap();
    let mut place = top;
    for depth in 0..3000 {
        let fd = place.open(OFlags::PATH | OFlags::DIRECTORY).unwrap();
        let name = if depth % 2 == 0 { ".1" } else { "a" };
        let child = Place::new(fd, OsStr::new(name)).unwrap();
        child.mkdir(Mode::RWXU).unwrap();
        place.chmod(Mode::XUSR).unwrap();
        place = child;
    }
    root.place(Path::new("dir")).unwrap().remove_all().unwrap();
    assert!(!directory.path().join("root/dir").exists());
    assert!(directory.path().join("canary").exists());
}

#[test]
fn children_are_all_names() {
    let (_directory, root) = root();
    let directory = root.open_in(Path::new("dir"), OFlags::RDONLY).unwrap();
    let mut names = crate::names_in(&directory).unwrap();
    names.sort();
    assert_eq!(names, ["root", "up"]);
}
