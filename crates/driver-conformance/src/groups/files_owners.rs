//! Copies of files that belong to another user of the container than its root, and that this one has closed to others.

use bytes::Bytes;
use driver_types::{Capability, DriverError, StopOptions};
use futures_util::TryStreamExt;

use super::files::{archive, bytes, entry, writable};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

const OWNERS: &[Capability] = &[Capability::Copy, Capability::Exec, Capability::User];

/// What the main process, who is user 1000, leaves behind.
const CLOSED: [&str; 14] = [
    "mkdir",
    "/work/closed",
    ",",
    "write",
    "/work/closed/mine",
    "of the user",
    ",",
    "chmod",
    "0600",
    "/work/closed/mine",
    ",",
    "chmod",
    "0700",
    "/work/closed",
];

pub(super) fn register(group: &mut Group) {
    group
        .case("closed_files_of_a_user_come_out", come_out)
        .needs(OWNERS)
        .needs_native(Capability::Copy)
        .proves(&["3.copy.binary"]);
    group
        .case("copies_go_into_a_closed_directory", go_in)
        .needs(OWNERS)
        .needs_native(Capability::Copy)
        .proves(&["3.copy.binary"]);
}

async fn closed(cx: &Context) -> Result<String, CaseError> {
    Ok(cx.ready_with(writable(cx, CLOSED)).await?.id)
}

/// Of a running container, and of one that does not run.
async fn come_out(cx: Context) -> CaseResult {
    let id = closed(&cx).await?;
    let expected = [
        ("closed".to_owned(), 1000, 0o700, String::new()),
        ("closed/mine".to_owned(), 1000, 0o600, "of the user".to_owned()),
    ];
    expect::equal("while it runs", entries(&cx, &id).await?.as_slice(), &expected)?;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    expect::equal("after its end", entries(&cx, &id).await?.as_slice(), &expected)
}

/// Path, owner, mode and content of all that is in a copy of the directory.
async fn entries(cx: &Context, id: &str) -> Result<Vec<(String, u64, u32, String)>, CaseError> {
    let pieces: Vec<Bytes> = cx
        .driver()
        .copy_from(id, "/work/closed")
        .await?
        .try_collect()
        .await?;
    let content = pieces.concat();
    let broken = |error: std::io::Error| DriverError::file_system(format!("a broken archive: {error}"));
    let mut found = Vec::new();
    for entry in tar::Archive::new(content.as_slice()).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = String::from_utf8_lossy(&entry.path_bytes())
            .trim_end_matches('/')
            .to_owned();
        let (uid, mode) = (entry.header().uid(), entry.header().mode());
        let content = std::io::read_to_string(&mut entry).map_err(broken)?;
        found.push((
            path,
            uid.map_err(broken)?,
            mode.map_err(broken)? & 0o7777,
            content,
        ));
    }
    Ok(found)
}

async fn go_in(cx: Context) -> CaseResult {
    let id = closed(&cx).await?;
    let given = entry("given", tar::EntryType::Regular, "", 0o600, b"to the user");
    let replaced = entry("mine", tar::EntryType::Regular, "", 0o640, b"anew");
    cx.driver()
        .copy_into(&id, "/work/closed", bytes(archive(&[given, replaced])))
        .await?;
    let commands = ["read", "/work/closed/given", ",", "stat", "/work/closed/mine"];
    expect::equal(
        "what the user sees",
        cx.exec_lines(&id, commands).await?.text(),
        "read=to the user\nstat=file 0640 1000 1000 4\n",
    )
}
