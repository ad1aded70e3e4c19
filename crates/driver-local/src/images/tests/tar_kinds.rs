//! What honest archives have: metadata, long names, compression, whiteouts.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use driver_local_shim::rootfs::Root;
use rstest::rstest;
use rustix::fs::OFlags;

use super::*;
use crate::tarball::Rights;

fn sample() -> Vec<u8> {
    Tar::new()
        .dir("etc")
        .file("etc/motd", "hello")
        .symlink("link", "etc/motd")
        .end()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Two frames with one to skip between them.
fn zstd_frames(content: &[u8]) -> Vec<u8> {
    let (a, b) = content.split_at(700);
    [zstd(a), b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec(), zstd(b)].concat()
}

#[rstest]
#[case::plain(<[u8]>::to_vec)]
#[case::gzip(gzip)]
#[case::gzip_members(|tar: &[u8]| [gzip(&tar[..700]), gzip(&tar[700..])].concat())]
#[case::zstd(zstd)]
#[case::zstd_frames(zstd_frames)]
fn compressions(#[case] pack: fn(&[u8]) -> Vec<u8>) {
    let fixture = Fixture::new();
    let image = fixture.import(&pack(&sample())).unwrap();
    let spec = fixture.store.resolve(&image.id).unwrap().unwrap();
    let plain = super::super::source::digest_of(&sample());
    assert!(
        spec.layers[0].contains(&plain),
        "the digest is that of the tar itself: {spec:?}"
    );
    assert_eq!(
        fs::read_to_string(Path::new(&spec.layers[0]).join("etc/motd")).unwrap(),
        "hello"
    );
    assert_eq!(image.size_bytes, 5);
}

#[rstest]
#[case::nothing(b"", "empty")]
#[case::text(b"this is no archive", "ends within a header")]
#[case::long_text(&[b'x'; 4096], "checksum")]
#[case::bzip2(b"BZh91AY&SY", "bzip2")]
#[case::xz(b"\xfd7zXZ\0....", "xz")]
#[case::cut_gzip(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "cannot be read")]
#[case::broken_zstd(b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff", "cannot be read")]
fn no_archives(#[case] content: &[u8], #[case] why: &str) {
    let fixture = Fixture::new();
    let error = fixture.import(content).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(error.to_string().contains(why), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn metadata() {
    let fixture = Fixture::new();
    let mut tar = Tar::new();
    for (kind, path, mode) in [
        (EntryType::Directory, "d", 0o1777),
        (EntryType::Regular, "d/suid", 0o4755),
        (EntryType::Directory, ".", 0o711),
    ] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(path).unwrap();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        tar.header(header);
    }
    let tar = tar.pax(&[("mtime", b"-1.25")]).file("d/old", "");
    let root = fixture.unpack(tar).unwrap();
    let look = |path: &str| fs::metadata(root.join(path)).unwrap();
    assert_eq!(look("d").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(look("d/suid").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(look("").permissions().mode() & 0o7777, 0o711);
    assert_eq!(
        look("d").mtime(),
        1_000_000_000,
        "although a file was put into it later"
    );
    assert_eq!(
        (look("d/old").mtime(), look("d/old").mtime_nsec()),
        (-2, 750_000_000)
    );
}

#[test]
fn long_names_of_gnu_and_pax() {
    let fixture = Fixture::new();
    let long = "n".repeat(200);
    let tar = Tar::new()
        .entry(
            EntryType::GNULongName,
            "././@LongLink",
            "",
            format!("a/{long}\0").as_bytes(),
        )
        .file("cut", "gnu")
        .entry(
            EntryType::GNULongLink,
            "././@LongLink",
            "",
            format!("a/{long}\0").as_bytes(),
        )
        .symlink("link", "cut")
        .pax(&[("linkpath", format!("a/{long}").as_bytes())])
        .hard_link("hard", "cut");
    let root = fixture.unpack(tar).unwrap();
    for path in [format!("a/{long}"), "link".to_owned(), "hard".to_owned()] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "gnu");
    }
}

#[test]
fn hard_links_are_one_file() {
    let fixture = Fixture::new();
    let root = fixture
        .unpack(
            Tar::new()
                .file("a", "x")
                .hard_link("d/b", "a")
                .symlink("s", "a")
                .hard_link("t", "s"),
        )
        .unwrap();
    assert_eq!(fs::metadata(root.join("a")).unwrap().nlink(), 2);
    assert!(fs::symlink_metadata(root.join("t")).unwrap().is_symlink());
}

#[test]
fn whiteouts_become_those_of_the_overlay() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .file("d/.wh..wh..opq", "")
        .file("d/new", "")
        .file(".wh.gone", "")
        .file(".wh.replaced", "")
        .file("replaced/x", "")
        .dir("replaced")
        .file("kept/x", "")
        .file(".wh.kept", "")
        .file(".wh..wh.plnk", "");
    let root = fixture.unpack(tar).unwrap();
    assert_eq!(names(&root), ["d", "gone", "kept", "replaced"]);
    let gone = fs::symlink_metadata(root.join("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let root = Root::open(&root).unwrap();
    for directory in ["d", "replaced", "kept"] {
        let place = root.place(Path::new(directory)).unwrap();
        assert_eq!(
            place
                .xattr(Rights::of_this_process().opaque_xattr())
                .unwrap()
                .as_deref(),
            Some(&b"y"[..]),
            "{directory}"
        );
    }
    let directory = root.open_in(Path::new("d"), OFlags::RDONLY).unwrap();
    assert_eq!(driver_local_shim::names_in(&directory).unwrap(), ["new"]);
}
