//! `copy_into` and `copy_from`.

use bytes::Bytes;
use driver_types::{
    ByteStream, Capability, ContainerConfig, ContainerDriverExt, DriverError, SecurityOptions, StopOptions,
    SupportLevel, VolumeConfig, VolumeMount,
};
use futures_util::{TryStreamExt, stream};

use super::inside::{NOTHING, binary, fingerprint};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

pub(super) const COPY: &[Capability] = &[Capability::Copy];

/// For cases that look from inside.
pub(super) const SEEN: &[Capability] = &[Capability::Copy, Capability::Exec];

const STATUS: &[&str] = &["3.copy.status"];

const BINARY: &[&str] = &["3.copy.binary"];

pub(super) fn register(group: &mut Group) {
    group
        .case("copy_into_created", copy_into_created)
        .needs(COPY)
        .proves(STATUS);
    group
        .case("copy_into_running", copy_into_running)
        .needs(SEEN)
        .proves(STATUS);
    group
        .case("copy_into_stopped", copy_into_stopped)
        .needs(COPY)
        .proves(STATUS);
    group
        .case("copy_from_in_every_status", copy_from_in_every_status)
        .needs(COPY)
        .proves(STATUS);
    group
        .case("binary_round_trip", binary_round_trip)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("large_round_trip", large_round_trip)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("written_bytes_are_seen_inside", seen_inside)
        .needs(SEEN)
        .proves(BINARY);
    group
        .case("directory_as_archive", directory_as_archive)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("directory_tree_goes_in", tree_goes_in)
        .needs(SEEN)
        .proves(BINARY);
    group
        .case("mode_and_owner_are_kept", mode_and_owner)
        .needs(&[Capability::Copy, Capability::Exec, Capability::User])
        .proves(BINARY);
    group
        .case("replaces_a_file", replaces_a_file)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("archive_in_small_pieces", small_pieces)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("read_file_of_a_directory", read_file_of_a_directory)
        .needs(COPY)
        .proves(BINARY);
    group
        .case("writable_volume_in_a_read_only_root", writable_volume)
        .needs(&[Capability::Copy, Capability::Volumes])
        .proves(&["3.copy.root", "1.mounts.writable"]);
    super::files_owners::register(group);
    super::files_root::register(group);
}

/// A config with a writable root.
pub(super) fn writable<const N: usize>(cx: &Context, commands: [&str; N]) -> ContainerConfig {
    cx.config(commands)
        .security(SecurityOptions::default().read_only(false))
}

/// A stream of these bytes, in one piece.
pub(super) fn bytes(content: Vec<u8>) -> ByteStream {
    Box::pin(stream::iter([Ok(Bytes::from(content))]))
}

/// One entry of an archive. The name is written as it is, also where the tar crate would refuse it.
pub(super) fn entry(name: &str, kind: tar::EntryType, link: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut block = header.as_bytes().to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

pub(super) fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, tar::EntryType::Regular, "", 0o644, content)
}

/// An archive of entries: two blocks of zeros end it.
pub(super) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = entries.concat();
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The paths in an archive that `copy_from` gives.
async fn paths(cx: &Context, id: &str, path: &str) -> Result<Vec<String>, CaseError> {
    let pieces: Vec<Bytes> = cx.driver().copy_from(id, path).await?.try_collect().await?;
    let content = pieces.concat();
    let mut paths = Vec::new();
    let mut archive = tar::Archive::new(content.as_slice());
    let broken = |error: std::io::Error| DriverError::file_system(format!("a broken archive: {error}"));
    for entry in archive.entries().map_err(broken)? {
        let path = entry.map_err(broken)?.path_bytes().into_owned();
        paths.push(String::from_utf8_lossy(&path).trim_end_matches('/').to_owned());
    }
    paths.sort();
    Ok(paths)
}

/// Copies a file `new` with this content into a directory of a container.
pub(super) async fn put_new(
    cx: &Context,
    id: &str,
    directory: &str,
    content: &[u8],
) -> Result<(), DriverError> {
    let content = bytes(archive(&[file("new", content)]));
    cx.driver().copy_into(id, directory, content).await
}

/// A container whose process reads `new` is started and finds this in it.
async fn reads_new(cx: &Context, id: &str, content: &str) -> CaseResult {
    cx.driver().start_container(id).await?;
    cx.wait_exit(id).await?;
    cx.lines(id).await?.expect("read", content)
}

async fn copy_into_created(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, ["read", "/work/new"])).await?.id;
    put_new(&cx, &id, "/work", b"hello").await?;
    reads_new(&cx, &id, "hello").await
}

async fn copy_into_running(cx: Context) -> CaseResult {
    let id = cx.run(&writable(&cx, ["forever"])).await?.id;
    put_new(&cx, &id, "/work", b"hello").await?;
    cx.exec_lines(&id, ["read", "/work/new"])
        .await?
        .expect("read", "hello")
}

async fn copy_into_stopped(cx: Context) -> CaseResult {
    let id = cx
        .finish(&writable(&cx, ["read", "/work/new"]))
        .await?
        .container
        .id;
    put_new(&cx, &id, "/work", b"hello").await?;
    reads_new(&cx, &id, "hello").await
}

async fn copy_from_in_every_status(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(["forever"])).await?.id;
    let read = async |status: &str| {
        let content = cx.driver().read_file(&id, "/readable").await?;
        expect::equal(
            format!("content while {status}"),
            &content[..],
            &b"readable\n"[..],
        )
    };
    read("created").await?;
    cx.driver().start_container(&id).await?;
    read("running").await?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    read("stopped").await
}

async fn binary_round_trip(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    for content in [Vec::new(), vec![0], binary(70_001)] {
        cx.driver()
            .write_file(&id, "/work/binary", &content, 0o600)
            .await?;
        let back = cx.driver().read_file(&id, "/work/binary").await?;
        expect::that(
            format!("the same {} bytes", content.len()),
            back == content,
            back.len(),
        )?;
    }
    Ok(())
}

async fn large_round_trip(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let content = binary(12 << 20);
    cx.driver()
        .write_file(&id, "/data/large", &content, 0o644)
        .await?;
    let back = cx.driver().read_file(&id, "/data/large").await?;
    expect::that("the same 12 MiB", back == content, back.len())
}

async fn seen_inside(cx: Context) -> CaseResult {
    let id = cx.run(&writable(&cx, ["forever"])).await?.id;
    let content = binary(100_000);
    cx.driver()
        .write_file(&id, "/work/binary", &content, 0o644)
        .await?;
    let output = cx.exec_lines(&id, ["size", "/work/binary"]).await?;
    output.expect("size", &fingerprint(&content))
}

async fn directory_as_archive(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    let found = paths(&cx, &id, "/dir").await?;
    expect::equal(
        "entries of /dir",
        found,
        ["dir", "dir/a", "dir/b", "dir/b/c", "dir/link"].to_vec(),
    )?;
    expect::equal(
        "entries of /dir/b/c",
        paths(&cx, &id, "/dir/b/c").await?,
        ["c"].to_vec(),
    )
}

async fn tree_goes_in(cx: Context) -> CaseResult {
    let id = cx.run(&writable(&cx, ["forever"])).await?.id;
    let directory = entry("new/", tar::EntryType::Directory, "", 0o755, b"");
    let link = entry("new/link", tar::EntryType::Symlink, "file", 0o777, b"");
    let tree = archive(&[directory, file("new/file", b"in a tree"), link]);
    cx.driver().copy_into(&id, "/work", bytes(tree)).await?;
    let output = cx
        .exec_lines(
            &id,
            [
                "ls",
                "/work/new",
                ",",
                "read",
                "/work/new/link",
                ",",
                "readlink",
                "/work/new/link",
            ],
        )
        .await?;
    expect::equal(
        "what is seen inside",
        output.text(),
        "ls=file,link\nread=in a tree\nreadlink=file\n",
    )
}

async fn mode_and_owner(cx: Context) -> CaseResult {
    let id = cx.run(&writable(&cx, ["forever"])).await?.id;
    let script = entry("script", tar::EntryType::Regular, "", 0o750, b"12345");
    cx.driver()
        .copy_into(&id, "/work", bytes(archive(&[script])))
        .await?;
    cx.driver().write_file(&id, "/work/by-root", b"1", 0o640).await?;
    let output = cx
        .exec_lines(&id, ["stat", "/work/script", ",", "stat", "/work/by-root"])
        .await?;
    // Who only emulates copies cannot give files away; then they are root's, and the reason says so.
    let owner = match cx.capabilities().get(Capability::Copy).level {
        SupportLevel::Native => 1000,
        _ => 0,
    };
    expect::equal(
        "type, mode, owner, size",
        output.text(),
        format!("stat=file 0750 {owner} {owner} 5\nstat=file 0640 0 0 1\n").as_str(),
    )
}

async fn replaces_a_file(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    cx.driver().write_file(&id, "/readable", b"short", 0o644).await?;
    expect::equal(
        "content",
        &cx.driver().read_file(&id, "/readable").await?[..],
        &b"short"[..],
    )
}

async fn small_pieces(cx: Context) -> CaseResult {
    let id = cx.create(&writable(&cx, NOTHING)).await?.id;
    let content = binary(5000);
    let pieces: Vec<_> = archive(&[file("pieces", &content)])
        .chunks(13)
        .map(Bytes::copy_from_slice)
        .map(Ok)
        .collect();
    cx.driver()
        .copy_into(&id, "/work", Box::pin(stream::iter(pieces)))
        .await?;
    expect::that(
        "the same bytes",
        cx.driver().read_file(&id, "/work/pieces").await? == content,
        "other bytes",
    )
}

async fn read_file_of_a_directory(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    expect::permanent(cx.driver().read_file(&id, "/dir").await, "FILE_SYSTEM_ERROR")?;
    Ok(())
}

async fn writable_volume(cx: Context) -> CaseResult {
    let volume = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("files")))
        .await?;
    let mount = VolumeMount::new(&volume.name, "/data");
    let id = cx
        .create(&cx.config(["read", "/data/new"]).volume(mount))
        .await?
        .id;
    put_new(&cx, &id, "/data", b"in a volume").await?;
    reads_new(&cx, &id, "in a volume").await
}
