//! Escapes by archives: images that are imported, and files that are copied in.

use std::io::Write;

use driver_types::{Capability, ContainerDriverExt};
use flate2::{Compression, write::GzEncoder};
use tar::EntryType;

use super::escape::{Canary, ESCAPE, needs_a_kernel, refused};
use super::escape_images::{BROKEN, import, link, of_image, try_run};
use super::files::{archive, bytes, entry, file, writable};
use super::security::root;
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::workload::import_options;

/// How entries lead out.
const KINDS: [&str; 5] = [
    "dot_dot",
    "an_absolute_name",
    "a_symlink",
    "a_chain_of_symlinks",
    "a_hard_link",
];

pub(super) fn register(group: &mut Group) {
    for kind in KINDS {
        group
            .case(format!("import_through_{kind}"), move |cx| imported(cx, kind))
            .needs(&[Capability::ImportImage, Capability::Images])
            .proves(&["7.escape", "3.images.manage"]);
        group
            .case(format!("copy_through_{kind}"), move |cx| copied(cx, kind))
            .needs(&[Capability::Copy])
            .proves(&["7.escape", "3.copy.root"]);
    }
    group
        .case("device_nodes_of_an_image_are_closed", devices)
        .needs(&[Capability::ImportImage, Capability::Images, Capability::User])
        .proves(ESCAPE);
    group
        .case("an_archive_that_lies_about_its_size", lying_size)
        .needs(&[Capability::ImportImage, Capability::Images])
        .proves(ESCAPE);
    group
        .case("a_compressed_bomb", bomb)
        .needs(&[Capability::ImportImage])
        .proves(&["7.escape", "3.images.manage"]);
    group
        .case("an_archive_of_many_entries", many_entries)
        .needs(&[Capability::ImportImage, Capability::Images])
        .proves(ESCAPE);
}

/// Entries that would write to the canary, or read its file as `stolen`.
fn hostile(kind: &str, canary: &str) -> Vec<Vec<u8>> {
    let up = format!("../../../../../../..{canary}");
    match kind {
        "dot_dot" => vec![file(&format!("{up}/new"), b"1")],
        "an_absolute_name" => vec![file(&format!("{canary}/new"), b"1")],
        "a_symlink" => vec![
            link("evil", canary),
            file("evil/new", b"1"),
            file("evil/file", b"1"),
        ],
        "a_chain_of_symlinks" => vec![link("a", "."), link("a/b", &up), file("a/b/new", b"1")],
        _ => vec![
            entry("stolen", EntryType::Link, &format!("{canary}/file"), 0o644, b""),
            file("stolen", b"1"),
            entry("stolen", EntryType::Link, &format!("{up}/file"), 0o644, b""),
        ],
    }
}

async fn imported(cx: Context, kind: &'static str) -> CaseResult {
    let canary = Canary::new()?;
    match import(&cx, "i", &[], &hostile(kind, &canary.path())).await? {
        Err(error) => refused(&error, BROKEN)?,
        Ok(_) => canary.unread(&try_run(&cx, &of_image(&cx, "i", ["read", "/stolen"])).await?)?,
    }
    canary.untouched()
}

async fn copied(cx: Context, kind: &'static str) -> CaseResult {
    let canary = Canary::new()?;
    let id = cx.create(&writable(&cx, ["uid"])).await?.id;
    let content = archive(&hostile(kind, &canary.path()));
    if let Err(error) = cx.driver().copy_into(&id, "/work", bytes(content)).await {
        refused(&error, BROKEN)?;
    }
    canary.untouched()?;
    let stolen = cx
        .driver()
        .read_file(&id, "/work/stolen")
        .await
        .unwrap_or_default();
    canary.unread(&String::from_utf8_lossy(&stolen))
}

fn device(name: &str, kind: EntryType, major: u32, minor: u32) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o666);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let _ = header
        .set_device_major(major)
        .and_then(|()| header.set_device_minor(minor));
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Memory and disks of the host, for everybody.
async fn devices(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let nodes = [
        device("memory", EntryType::Char, 1, 1),
        device("disk", EntryType::Block, 8, 0),
        device("virtual-disk", EntryType::Block, 254, 0),
    ];
    if let Err(error) = import(&cx, "i", &[], &nodes).await? {
        return refused(&error, BROKEN);
    }
    for path in ["/memory", "/disk", "/virtual-disk"] {
        let config = of_image(&cx, "i", ["read", path, ",", "open-write", path]).security(root());
        let output = cx.finish(&config).await?.output;
        output.expect_refused("read")?;
        output.expect_refused("open-write")?;
    }
    Ok(())
}

/// A tebibyte that is not there: neither memory nor disk is taken for it.
async fn lying_size(cx: Context) -> CaseResult {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..4].copy_from_slice(b"huge");
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(1 << 40);
    header.set_cksum();
    match import(&cx, "i", &[], &[header.as_bytes().to_vec()]).await? {
        Err(error) => refused(&error, BROKEN)?,
        Ok(image) => expect::that("less than 1 GiB", image.size_bytes < 1 << 30, image)?,
    }
    Ok(())
}

/// Bytes of the bomb, without compression.
const BOMB: usize = 256 << 20;

/// A name of 256 MiB in 256 KiB of gzip: an entry's header is what is read into memory whole.
async fn bomb(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let start = format!("{BOMB} comment=");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(BOMB as u64);
    header.set_cksum();
    let end = [b"\n".to_vec(), archive(&[file("file", b"1")])].concat();
    let text = vec![b'x'; BOMB / 16];
    let part = compressed(&text)?;
    let mut bomb = compressed(&[header.as_bytes(), start.as_bytes()].concat())?;
    bomb.extend(part.repeat(15));
    bomb.extend(compressed(&text[..text.len() - start.len() - 1])?);
    bomb.extend(compressed(&end)?);
    expect::that("a thousand to one", bomb.len() < BOMB / 900, bomb.len())?;
    let imported = cx
        .driver()
        .import_image(&import_options(&cx.image_name("i")), bytes(bomb))
        .await;
    expect::permanent(imported, BROKEN).map(drop)
}

/// Several of these are one stream as well.
fn compressed(content: &[u8]) -> Result<Vec<u8>, CaseError> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let written = gzip.write_all(content).and_then(|()| gzip.finish());
    written.map_err(|error| Failure::new("a compressed archive", error.to_string()).into())
}

async fn many_entries(cx: Context) -> CaseResult {
    let entries: Vec<_> = (0..5000)
        .map(|number| file(&format!("data/{number}"), b""))
        .collect();
    match import(&cx, "i", &[], &entries).await? {
        Err(error) => refused(&error, BROKEN),
        Ok(_) => {
            cx.finish(&of_image(&cx, "i", ["size", "/data/4999"]))
                .await?
                .output
                .value("size")?;
            let image = cx.driver().get_image(&cx.image_name("i")).await?;
            expect::some("the image", image).map(drop)
        }
    }
}
