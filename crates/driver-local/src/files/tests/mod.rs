//! Copies into and out of directories that stand for a container's root.

#![allow(clippy::unwrap_used)]

mod streams;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use rstest::rstest;
use tar::EntryType;

use super::*;

/// A root with a canary beside it and ways that lead to it.
struct Fixture {
    directory: tempfile::TempDir,
    root: Root,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        fs::create_dir_all(path.join("work")).unwrap();
        fs::create_dir(path.join("etc")).unwrap();
        fs::write(path.join("file"), "a file").unwrap();
        fs::write(directory.path().join("canary"), "outside").unwrap();
        symlink("../../../../etc", path.join("escape")).unwrap();
        symlink("/loop", path.join("loop")).unwrap();
        let root = Root::open(&path).unwrap();
        Self { directory, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    fn copy_into(&self, path: &str, tar: &[u8]) -> Result<()> {
        unpack(&self.root, path, tar)
    }

    fn copy_from(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut tar = Vec::new();
        Found::look(&self.root, Path::new(path))?.pack(&mut tar)?;
        Ok(tar)
    }

    fn assert_nothing_outside(&self) {
        assert_eq!(
            fs::read_to_string(self.directory.path().join("canary")).unwrap(),
            "outside"
        );
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 2);
    }
}

/// An entry whose name and link are as they are.
fn entry(kind: EntryType, name: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_gid(1001);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut block = [header.as_bytes(), content].concat();
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, name.as_bytes(), b"", 0o644, content)
}

fn directory(name: &str, mode: u32) -> Vec<u8> {
    entry(EntryType::Directory, name.as_bytes(), b"", mode, b"")
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let paths = archive
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap());
    let mut names: Vec<String> = paths.collect();
    names.sort();
    names
}

/// What there is below a directory: type, mode, owner, time, and content or target.
fn tree(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let at = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&at).unwrap();
            let kind = metadata.file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&at).unwrap().into_os_string().into_encoded_bytes()
            } else if kind.is_file() {
                fs::read(&at).unwrap()
            } else {
                Vec::new()
            };
            if kind.is_dir() {
                waiting.push(at.clone());
            }
            let mode = metadata.mode();
            let (uid, gid, time) = (metadata.uid(), metadata.gid(), metadata.mtime());
            let links = if kind.is_dir() { 0 } else { metadata.nlink() };
            let described = format!("{mode:o} {uid}:{gid} @{time} *{links} {content:?}");
            found.insert(at.strip_prefix(path).unwrap().to_owned(), described);
        }
    }
    found
}

#[test]
fn what_comes_out_goes_in_as_it_was() {
    let fixture = Fixture::new();
    let odd = OsStr::from_bytes(b"odd \xff\n name");
    let dir = fixture.path("dir");
    fs::create_dir_all(dir.join("empty")).unwrap();
    fs::create_dir_all(dir.join("x".repeat(200)).join("y".repeat(200))).unwrap();
    fs::write(dir.join("script"), [0, 1, 2, 255]).unwrap();
    fs::hard_link(dir.join("script"), dir.join("same")).unwrap();
    fs::write(dir.join(odd), vec![b'z'; 300_000]).unwrap();
    symlink("/nowhere//at/all/", dir.join("link")).unwrap();
    symlink("t".repeat(300), dir.join("long link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    fs::set_permissions(dir.join("script"), PermissionsExt::from_mode(0o4750)).unwrap();
    fs::set_permissions(dir.join("empty"), PermissionsExt::from_mode(0o500)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(dir.join("empty"), Some(3), Some(4)).unwrap();
        std::os::unix::fs::lchown(dir.join("link"), Some(5), Some(6)).unwrap();
    }
    let tar = fixture.copy_from("/dir").unwrap();
    fixture.copy_into("/work", &tar).unwrap();
    let copied = tree(&fixture.path("work/dir"));
    assert_eq!(copied, tree(&dir));
    assert_eq!(copied.len(), 9);
}

#[rstest]
#[case("/dir", &["dir/", "dir/b/", "dir/b/c", "dir/link"])]
#[case("/dir/", &["dir/", "dir/b/", "dir/b/c", "dir/link"])]
#[case("/dir/b/../b/c", &["c"])]
#[case("/way/b", &["b/", "b/c"])]
#[case("/way", &["way"])]
#[case("/dir/b/..", &["./", "b/", "b/c", "link"])]
fn names_begin_with_the_last_part(#[case] path: &str, #[case] expected: &[&str]) {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("dir/b")).unwrap();
    fs::write(fixture.path("dir/b/c"), "").unwrap();
    symlink("b", fixture.path("dir/link")).unwrap();
    symlink("/dir", fixture.path("way")).unwrap();
    assert_eq!(names(&fixture.copy_from(path).unwrap()), expected);
}

#[test]
fn the_whole_root() {
    let fixture = Fixture::new();
    let expected = ["./", "escape", "etc/", "file", "loop", "work/"];
    assert_eq!(names(&fixture.copy_from("/").unwrap()), expected);
}

/// More entries than a process has descriptors, and deeper than it has stack.
#[test]
fn wide_and_deep_trees() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("wide")).unwrap();
    for number in 0..3000 {
        fs::create_dir(fixture.path(&format!("wide/{number:04}"))).unwrap();
    }
    assert_eq!(names(&fixture.copy_from("/wide").unwrap()).len(), 3001);
    fs::create_dir_all(fixture.path(&format!("deep/{}", "d/".repeat(1500)))).unwrap();
    assert_eq!(names(&fixture.copy_from("/deep").unwrap()).len(), 1501);
}

#[rstest]
#[case("/nowhere")]
#[case("/file/below")]
#[case("/loop/x")]
fn nothing_to_copy(#[case] path: &str) {
    let fixture = Fixture::new();
    let error = refused(path, &fixture.copy_from(path).unwrap_err());
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(error.to_string().contains(path), "{error}");
    assert!(fixture.copy_into(path, &archive(&[])).is_err());
}

/// Their files have no size and no end.
#[rstest]
#[case("/proc")]
#[case("/proc/self/status")]
#[case("/sys/kernel")]
fn file_systems_of_the_kernel(#[case] path: &str) {
    let root = Root::open(Path::new("/")).unwrap();
    let error = Found::look(&root, Path::new(path)).unwrap_err();
    assert!(error.to_string().contains("exec"), "{error}");
    if path == "/proc" {
        let error = unpack(&root, path, archive(&[]).as_slice()).unwrap_err();
        assert!(error.to_string().contains("exec"), "{error}");
    }
}

#[rstest]
#[case::parent(&[file("../canary", b"evil")], "leads out")]
#[case::parents(&[file("a/../../../canary", b"evil")], "leads out")]
#[case::within(&[file("a/../b", b"evil")], "leads out")]
#[case::link_by_parents(&[entry(EntryType::Link, b"l", b"../../canary", 0o644, b"")], "leads out")]
#[case::link_of_the_host(&[entry(EntryType::Link, b"l", b"/etc/passwd", 0o644, b"")], "does not have")]
#[case::character_device(&[entry(EntryType::Char, b"null", b"", 0o666, b"")], "is a device")]
#[case::block_device(&[entry(EntryType::Block, b"sda", b"", 0o666, b"")], "is a device")]
#[case::sparse(&[entry(EntryType::GNUSparse, b"s", b"", 0o644, b"")], "sparse")]
#[case::in_a_file(&[file("f", b""), file("f/x", b"")], "f/x")]
fn archives_that_are_refused(#[case] entries: &[Vec<u8>], #[case] why: &str) {
    let fixture = Fixture::new();
    let before = tree(&fixture.path("etc"));
    let error = fixture.copy_into("/work", &archive(entries)).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(!error.is_retryable());
    assert!(error.report().contains(why), "{}", error.report());
    assert_eq!(tree(&fixture.path("etc")), before);
    fixture.assert_nothing_outside();
}

#[test]
fn links_are_followed_in_the_root() {
    let fixture = Fixture::new();
    fixture
        .copy_into("/escape", &archive(&[file("by-target", b"1")]))
        .unwrap();
    let link = entry(EntryType::Symlink, b"evil", b"../../../../../etc", 0o777, b"");
    fixture
        .copy_into("/work", &archive(&[link, file("evil/by-archive", b"2")]))
        .unwrap();
    assert_eq!(fs::read(fixture.path("etc/by-target")).unwrap(), b"1");
    assert_eq!(fs::read(fixture.path("etc/by-archive")).unwrap(), b"2");
    assert_eq!(
        names(&fixture.copy_from("/escape/by-target").unwrap()),
        ["by-target"]
    );
    fixture.assert_nothing_outside();
}

/// A link at the place of an entry is replaced, not followed.
#[test]
fn what_is_there_is_replaced() {
    let fixture = Fixture::new();
    let canary = fixture.directory.path().join("canary");
    symlink(canary, fixture.path("work/new")).unwrap();
    fs::create_dir_all(fixture.path("work/kept/old")).unwrap();
    let entries = [file("new", b"inside"), directory("kept/", 0o710)];
    fixture.copy_into("/work", &archive(&entries)).unwrap();
    assert!(fs::symlink_metadata(fixture.path("work/new")).unwrap().is_file());
    assert!(fixture.path("work/kept/old").exists());
    assert_eq!(
        fs::metadata(fixture.path("work/kept")).unwrap().mode() & 0o7777,
        0o710
    );
    fixture.assert_nothing_outside();
}

#[test]
fn the_directory_itself_and_names_of_layers_mean_nothing() {
    let fixture = Fixture::new();
    let mode = || fs::metadata(fixture.path("work")).unwrap().mode();
    let before = mode();
    let entries = [
        directory("./", 0o700),
        file("./.wh.file", b"1"),
        file(".wh..wh..opq", b"2"),
        file("/absolute", b"3"),
    ];
    fixture.copy_into("/work", &archive(&entries)).unwrap();
    assert_eq!(mode(), before);
    let mut names: Vec<_> = tree(&fixture.path("work")).into_keys().collect();
    names.sort();
    assert_eq!(names, [".wh..wh..opq", ".wh.file", "absolute"].map(PathBuf::from));
    assert!(fixture.path("file").exists());
}

#[rstest]
#[case::no_archive(b"this is no archive".repeat(100), "checksum")]
#[case::cut_in_an_entry([directory("d/", 0o511), file("cut", &[7; 5000])].concat()[..3000].to_vec(), "ends within")]
#[case::cut_in_a_header([directory("d/", 0o511), file("cut", b"")].concat()[..700].to_vec(), "ends within")]
fn broken_archives(#[case] tar: Vec<u8>, #[case] why: &str) {
    let fixture = Fixture::new();
    let error = fixture.copy_into("/work", &tar).unwrap_err();
    assert!(error.report().contains(why), "{}", error.report());
    // What came before is as the archive says.
    if let Ok(metadata) = fs::metadata(fixture.path("work/d")) {
        assert_eq!(metadata.mode() & 0o7777, 0o511);
    }
}

/// As of a library whose user did not set them: Docker reads zeros.
#[test]
fn numbers_that_are_left_out() {
    let fixture = Fixture::new();
    let mut header = tar::Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_size(1);
    header.as_old_mut().mtime = [0; 12];
    header.set_cksum();
    let tar = [header.as_bytes().as_slice(), &[b'1'; 1], &[0; 511 + 1024]].concat();
    fixture.copy_into("/work", &tar).unwrap();
    let metadata = fs::metadata(fixture.path("work/x")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0, 0));
}

#[test]
fn an_empty_stream_has_no_entries() {
    let fixture = Fixture::new();
    fixture.copy_into("/work", b"").unwrap();
    fixture.copy_into("/work", &[0; 1024]).unwrap();
    assert!(tree(&fixture.path("work")).is_empty());
}

#[test]
fn the_way_out_is_told() {
    let io = io::Error::from(ErrorKind::ReadOnlyFilesystem);
    let told = refused("/work", &io).report();
    assert!(told.contains("security.readOnly"), "{told}");
    let entry = DriverError::file_system("cannot unpack x").with_source(io);
    let told = described(entry, "/work").report();
    assert!(
        told.contains("security.readOnly") && told.contains("/work"),
        "{told}"
    );
}
