//! Archives that want out, or want everything.

use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Whatever the archive says, the file is in the root and nothing outside has changed.
#[rstest]
#[case::absolute(Tar::new().file("/canary", "x"))]
#[case::parent(Tar::new().file("../canary", "x"))]
#[case::many_parents(Tar::new().file("../../../../../../canary", "x"))]
#[case::through_a_directory(Tar::new().file("a/../../canary", "x"))]
#[case::link_up(Tar::new().symlink("l", "../../../../..").file("l/canary", "x"))]
#[case::link_to_the_root(Tar::new().symlink("l", "/").file("l/canary", "x"))]
#[case::link_by_link(Tar::new().symlink("a", "..").symlink("b", "a/..").file("b/canary", "x"))]
#[case::file_over_link(Tar::new().symlink("canary", "../../../../../canary").file("canary", "x"))]
#[case::file_over_directory(Tar::new().dir("canary").file("canary/a/b", "y").file("canary", "x"))]
#[case::twice(Tar::new().file("canary", "y").file("canary", "x"))]
#[case::hard_link_of_itself(Tar::new().file("canary", "x").hard_link("canary", "./canary"))]
#[case::hard_link_by_parents(Tar::new().file("a", "x").hard_link("canary", "../../a"))]
fn stays_inside(#[case] tar: Tar) {
    let fixture = Fixture::new();
    let root = fixture.unpack(tar).unwrap();
    let canary = root.join("canary");
    assert!(fs::symlink_metadata(&canary).unwrap().is_file());
    assert_eq!(fs::read_to_string(canary).unwrap(), "x");
    assert_eq!(fixture.left().len(), 2);
}

/// A link to an existing directory outside: what is made "in" it is made below the root.
#[test]
fn a_link_to_a_directory_of_the_host() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let made = fixture.unpack(Tar::new().symlink("l", target).file("l/x", "x"));
    // The link leads to nothing in the root, so that there is no directory to put it in.
    assert_eq!(made.unwrap_err().code(), "FILE_SYSTEM_ERROR");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(fixture.left().is_empty());
}

#[rstest]
#[case::host_file(Tar::new().hard_link("l", "/etc/passwd"), "which the archive does not have")]
#[case::by_link(Tar::new().symlink("d", "/etc").hard_link("l", "d/passwd"), "which the archive does not have")]
#[case::of_a_directory(Tar::new().dir("d").hard_link("l", "d"), "which is a directory")]
#[case::of_the_root(Tar::new().hard_link("l", "."), "names no entry")]
#[case::nul_in_path(Tar::new().pax(&[("path", b"a\0b")]).file("x", ""), "NUL")]
#[case::empty_target(Tar::new().symlink("l", ""), "without a target")]
#[case::unknown_type(Tar::new().entry(EntryType::new(b'Q'), "x", "", b""), "unknown type")]
#[case::sparse(Tar::new().entry(EntryType::GNUSparse, "x", "", b""), "sparse")]
#[case::pax_size(Tar::new().pax(&[("size", b"99999")]).file("x", "short"), "ends within an entry")]
#[case::pax_size_of_all(Tar::new().pax(&[("size", b"18446744073709551615")]).file("x", ""), "impossible size")]
#[case::pax_owner(Tar::new().pax(&[("uid", b"4294967295")]).file("x", ""), "not the id")]
#[case::long_name(Tar::new().file([b'a'; 99], "").pax(&[("path", &[b'a'; 300])]).file("x", ""), "cannot unpack")]
#[case::long_path(Tar::new().pax(&[("path", &[b'/'; 5000])]).file("x", ""), "more than 4096 bytes")]
#[case::big_extension(Tar::new().pax(&[("comment", &[b'x'; 2 << 20])]).file("x", ""), "more than 1048576 bytes")]
#[case::directory_in_a_file(Tar::new().file("f", "").file("f/x", ""), "cannot unpack f/x")]
fn refused(#[case] tar: Tar, #[case] why: &str) {
    let fixture = Fixture::new();
    let error = fixture.unpack(tar).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(!error.is_retryable());
    assert!(error.report().contains(why), "{}", error.report());
    assert!(fixture.left().is_empty());
}

#[test]
fn devices_are_left_out_and_cannot_hide_anything() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .entry(EntryType::Char, "dev/null", "", b"")
        .entry(EntryType::Block, "dev/sda", "", b"")
        .file("x", "x");
    assert_eq!(names(&fixture.unpack(tar).unwrap()), ["x"]);
}

#[test]
fn fifos_are_made() {
    let fixture = Fixture::new();
    let root = fixture
        .unpack(Tar::new().entry(EntryType::Fifo, "f", "", b""))
        .unwrap();
    assert!(fs::metadata(root.join("f")).unwrap().file_type().is_fifo());
}

#[test]
fn a_directory_replaces_a_link() {
    let fixture = Fixture::new();
    let root = fixture
        .unpack(Tar::new().symlink("d", "/").dir("d").file("d/x", "x"))
        .unwrap();
    assert!(fs::symlink_metadata(root.join("d")).unwrap().is_dir());
    assert_eq!(names(&root), ["d"]);
}

#[rstest]
#[case(b"line\nbreak")]
#[case(b"\xff\xfe invalid")]
#[case(b" ")]
#[case(b"...")]
#[case(b"~")]
#[case(b".1")]
#[case("\u{202e}txt".as_bytes())]
fn odd_names(#[case] name: &[u8]) {
    let fixture = Fixture::new();
    let root = fixture.unpack(
        Tar::new()
            .file(name, "by header")
            .pax(&[("path", &[b"d/", name].concat())])
            .file("x", "by PAX"),
    );
    let root = root.unwrap();
    assert_eq!(fs::read_to_string(root.join(bytes(name))).unwrap(), "by header");
    assert_eq!(
        fs::read_to_string(root.join("d").join(bytes(name))).unwrap(),
        "by PAX"
    );
}

#[test]
fn attributes_of_the_overlay_are_left_out() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.user.kept", b"a\nb"),
        ])
        .dir("d");
    let root = driver_local_shim::rootfs::Root::open(&fixture.unpack(tar).unwrap()).unwrap();
    let place = root.place(Path::new("d")).unwrap();
    assert_eq!(place.xattr_names().unwrap(), ["user.kept"]);
    assert_eq!(place.xattr(OsStr::new("user.kept")).unwrap().unwrap(), b"a\nb");
}

fn small() -> Limits {
    Limits {
        entries: 10,
        bytes: 1 << 20,
        depth: 8,
    }
}

#[rstest]
#[case::entries((0..11).fold(Tar::new(), |tar, n| tar.file(n.to_string(), "")), "more than 10 entries")]
#[case::size(Tar::new().file("a", &"x".repeat(600 << 10)).file("b", &"x".repeat(600 << 10)), "more than 1048576 bytes")]
#[case::depth(Tar::new().file("1/2/3/4/5/6/7/8/9", ""), "deeper than 8")]
fn limits(#[case] tar: Tar, #[case] why: &str) {
    let fixture = Fixture::with_limits(small());
    let error = fixture.unpack(tar).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(error.to_string().contains(why), "{error}");
    assert!(fixture.left().is_empty());
}

/// 64 MiB of zeros in 64 KiB: as a file of the archive, and as what follows its end.
#[rstest]
#[case::file(Tar::new(), 64 << 20, "more than 1048576 bytes")]
#[case::after_the_end(Tar::new().file("x", ""), 0, "more than 1089536 bytes")]
fn bombs(#[case] start: Tar, #[case] size: u64, #[case] why: &str) {
    let fixture = Fixture::with_limits(small());
    let mut tar = start;
    if size > 0 {
        let mut header = Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        tar.header(header);
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar.0).unwrap();
    io::copy(&mut io::repeat(0).take(64 << 20), &mut gzip).unwrap();
    let error = fixture.import(&gzip.finish().unwrap()).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    assert!(fixture.left().is_empty());
}

/// One step of an archive that is made of few names, so that they meet each other.
fn step() -> impl Strategy<Value = (u8, String, String)> {
    let path = || {
        prop::collection::vec(
            prop::sample::select(vec!["a", "b", "c", "..", ".", "", ".wh.a", ".wh..wh..opq"]),
            1..5,
        )
        .prop_map(|parts| parts.join("/"))
    };
    (prop::sample::select(b"0122345".to_vec()), path(), path())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any sequence ends in an image or a typed error, changes nothing outside, and leaves nothing after an error.
    #[test]
    fn any_archive_stays_inside(steps in prop::collection::vec(step(), 0..24)) {
        let fixture = Fixture::new();
        // A trap: whoever follows a link out of a layer finds a place to write to.
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), fixture.store.tmp().join("a")).unwrap();
        let tar = steps.iter().fold(Tar::new(), |tar, (kind, path, link)| {
            tar.entry(EntryType::new(*kind), path, link, if *kind == b'0' { b"x" } else { b"" })
        });
        let result = fixture.import(&tar.end());
        fs::remove_file(fixture.store.tmp().join("a")).unwrap();
        prop_assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        match result {
            Ok(_) => prop_assert_eq!(fixture.left().len(), 2),
            Err(error) => {
                prop_assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
                prop_assert_eq!(fixture.left().len(), 0);
            }
        }
    }

    /// Damage anywhere is an error or another archive, never a crash.
    #[test]
    fn damaged_archives(at in 0_usize..4096, byte: u8, end in 0_usize..4096) {
        let fixture = Fixture::new();
        let mut tar = Tar::new().pax(&[("mtime", b"1.5"), ("path", b"d/long")]).file("x", "content").dir("e").symlink("l", "x").end();
        let (at, end) = (at % tar.len(), end % tar.len());
        tar[at] = byte;
        tar.truncate(tar.len() - end);
        if fixture.import(&tar).is_err() {
            prop_assert_eq!(fixture.left().len(), 0);
        }
    }
}

#[test]
fn the_owner_of_a_file_is_that_of_the_archive() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let fixture = Fixture::new();
    let metadata = fs::metadata(fixture.unpack(Tar::new().file("x", "")).unwrap().join("x")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (7, 8));
}
