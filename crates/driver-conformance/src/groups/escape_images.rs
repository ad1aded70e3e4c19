//! Escapes by images whose directories and files are links to somewhere else.

use bytes::Bytes;
use driver_types::{
    Capability, ContainerConfig, ContainerDriverExt, Image, SecurityOptions, VolumeConfig, VolumeMount,
};

use super::escape::{Canary, ESCAPE, needs_a_kernel, refused};
use super::files::{bytes, entry};
use super::security::root;
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::workload::{hostile_archive, import_options};

const IMPORT: &[Capability] = &[Capability::ImportImage, Capability::Images];

/// What an archive is refused with.
pub(super) const BROKEN: &str = "FILE_SYSTEM_ERROR";

/// Paths of an image where the driver mounts something, or makes a directory.
const PLACES: [&str; 8] = ["proc", "sys", "dev", "etc", "tmp", "data", "scratch", "work"];

pub(super) fn register(group: &mut Group) {
    for place in PLACES {
        group
            .case(format!("image_with_{place}_as_a_link"), move |cx| {
                linked(cx, place)
            })
            .needs(IMPORT)
            .needs(&[Capability::Volumes, Capability::Tmpfs])
            .timeout_seconds(180)
            .proves(ESCAPE);
    }
    for device in ["null", "console", "pts"] {
        group
            .case(format!("image_with_dev_{device}_as_a_link"), move |cx| {
                device_link(cx, device)
            })
            .needs(IMPORT)
            .needs(&[Capability::User])
            .proves(&["7.escape", "7.masked"]);
    }
    group
        .case("passwd_as_a_link_gives_no_user", passwd)
        .needs(IMPORT)
        .needs(&[Capability::User])
        .proves(ESCAPE);
    for name in ["hosts", "hostname", "resolv.conf"] {
        group
            .case(
                format!("{}_as_a_link_is_not_followed", name.replace('.', "_")),
                move |cx| etc_file(cx, name),
            )
            .needs(IMPORT)
            .proves(ESCAPE);
    }
}

/// Imports the workload image with other entries in the place of some of its own.
pub(super) async fn import(
    cx: &Context,
    suffix: &str,
    without: &[&str],
    more: &[Vec<u8>],
) -> Result<Result<Image, driver_types::DriverError>, CaseError> {
    let archive: Bytes = hostile_archive(cx.factory().simulated(), without, more)
        .map_err(|error| Failure::new("the workload image", error))?;
    let options = import_options(&cx.image_name(suffix));
    Ok(cx.driver().import_image(&options, bytes(archive.to_vec())).await)
}

pub(super) fn link(name: &str, target: &str) -> Vec<u8> {
    entry(name, tar::EntryType::Symlink, target, 0o777, b"")
}

/// A config with an image of this case.
pub(super) fn of_image<const N: usize>(cx: &Context, suffix: &str, commands: [&str; N]) -> ContainerConfig {
    let mut config = cx.config(commands);
    config.image = cx.image_name(suffix);
    config
}

/// Runs it where the driver does; returns what it printed.
pub(super) async fn try_run(cx: &Context, config: &ContainerConfig) -> Result<String, CaseError> {
    let id = cx.create(config).await?.id;
    match cx.driver().start_container(&id).await {
        Ok(()) => {
            cx.wait_exit(&id).await?;
            cx.log(&id).await
        }
        Err(error) => refused(&error, "CONTAINER_START_FAILED").map(|()| String::new()),
    }
}

/// CVE-2021-30465, CVE-2019-19921, CVE-2023-27561, CVE-2026-41579.
async fn linked(cx: Context, place: &'static str) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let volume = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("v")))
        .await?;
    let planted = cx.name("planted");
    for (number, target) in ["/", "../../../../..", &canary.path()].into_iter().enumerate() {
        let suffix = format!("{place}{number}");
        if let Err(error) = import(&cx, &suffix, &[place], &[link(place, target)]).await? {
            refused(&error, BROKEN)?;
            continue;
        }
        let file = format!("/{place}/{planted}");
        let secret = format!("/{place}/file");
        let config = of_image(&cx, &suffix, ["write", &file, "1", ",", "read", &secret])
            .security(SecurityOptions::default().read_only(false))
            .volume(VolumeMount::new(&volume.name, "/data"))
            .tmpfs("/scratch", 8)
            .tmpfs("/tmp", 8);
        let text = try_run(&cx, &config).await?;
        canary.untouched()?;
        canary.unread(&text)?;
        let host = std::path::Path::new("/").join(&planted);
        expect::that("nothing new in the host's root", !host.exists(), host)?;
    }
    Ok(())
}

/// CVE-2025-31133, CVE-2025-52565: what masks, and the terminal, are the driver's own.
async fn device_link(cx: Context, device: &'static str) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let name = format!("dev/{device}");
    for (number, target) in ["/proc/sys/kernel/core_pattern", &canary.path()]
        .into_iter()
        .enumerate()
    {
        let suffix = format!("{device}{number}");
        if let Err(error) = import(&cx, &suffix, &[], &[link(&name, target)]).await? {
            refused(&error, BROKEN)?;
            continue;
        }
        let commands = [
            "open-write",
            "/proc/sys/kernel/core_pattern",
            ",",
            "open-write",
            "/proc/keys",
            ",",
            "try",
            "read-kcore",
        ];
        let mut config = of_image(&cx, &suffix, commands).security(root());
        config.tty = device != "null";
        let text = try_run(&cx, &config).await?;
        let written = text.contains("core_pattern") || text.contains("try-read-kcore=ok");
        let opened = text
            .lines()
            .next()
            .is_some_and(|first| first.starts_with("open-write=ok"));
        expect::that("no way to the kernel's settings", !written && !opened, &text)?;
        canary.untouched()?;
    }
    Ok(())
}

/// The canary's file would give the user `evil` the id of root.
async fn passwd(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let target = format!("{}/file", canary.path());
    if let Err(error) = import(&cx, "i", &["etc/passwd"], &[link("etc/passwd", &target)]).await? {
        return refused(&error, BROKEN);
    }
    let config = of_image(&cx, "i", ["uid"]).security(SecurityOptions::default().user("evil"));
    let text = try_run(&cx, &config).await?;
    expect::equal("output for a user of the host's file", text.as_str(), "")?;
    canary.untouched()
}

async fn etc_file(cx: Context, name: &'static str) -> CaseResult {
    needs_a_kernel(&cx)?;
    let canary = Canary::new()?;
    let entry = format!("etc/{name}");
    for (number, target) in [
        format!("{}/file", canary.path()),
        format!("{}/new", canary.path()),
    ]
    .iter()
    .enumerate()
    {
        let suffix = format!("i{number}");
        if let Err(error) = import(&cx, &suffix, &[&entry], &[link(&entry, target)]).await? {
            refused(&error, BROKEN)?;
            continue;
        }
        let path = format!("/{entry}");
        let config = of_image(&cx, &suffix, ["read", &path, ",", "append", &path, "1"])
            .security(SecurityOptions::default().read_only(false));
        let text = try_run(&cx, &config).await?;
        canary.unread(&text)?;
        canary.untouched()?;
        if cx.supports(Capability::Copy) {
            let created = cx
                .driver()
                .create_container(&of_image(&cx, &suffix, ["uid"]))
                .await?;
            let content = cx
                .driver()
                .read_file(&created.id, &path)
                .await
                .unwrap_or_default();
            canary.unread(&String::from_utf8_lossy(&content))?;
        }
    }
    Ok(())
}
