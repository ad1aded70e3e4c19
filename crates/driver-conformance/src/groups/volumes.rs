//! Volumes and bind mounts.

use driver_types::{Capability, ContainerConfig, RemoveOptions, Volume, VolumeConfig, VolumeMount};

use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

const VOLUMES: &[Capability] = &[Capability::Volumes];
const BINDS: &[Capability] = &[Capability::BindMounts];
const READ: &[&str] = &["3.volumes.read"];
const KIND: &[&str] = &["1.mounts.kind"];

pub(super) fn register(group: &mut Group) {
    group
        .case("create_tells_what_was_made", create)
        .proves(&["3.volumes.create"]);
    group
        .case("create_same_again", create_same_again)
        .proves(&["3.volumes.create"]);
    group
        .case("create_with_another_spec", another_spec)
        .proves(&["3.volumes.create"]);
    group.case("bad_name", bad_name).proves(&["3.volumes.create"]);
    group
        .case("reserved_label", reserved_label)
        .proves(&["1.config.labels.reserved"]);
    group
        .case("remove_by_id_and_by_name", remove)
        .needs(VOLUMES)
        .proves(&["3.volumes.remove"]);
    group
        .case("remove_unknown", remove_unknown)
        .proves(&["3.volumes.remove", "4.notFound"]);
    group
        .case("remove_in_use", remove_in_use)
        .needs(VOLUMES)
        .proves(&["3.volumes.remove"]);
    group.case("list_by_name", list).needs(VOLUMES).proves(READ);
    group
        .case("get_by_id_and_by_name", get)
        .needs(VOLUMES)
        .proves(READ);
    group
        .case("get_unknown_is_none", get_unknown)
        .needs(VOLUMES)
        .proves(READ);
    group
        .case("content_outlives_the_container", content_outlives)
        .needs(VOLUMES)
        .proves(&["1.mounts.writable"]);
    group
        .case("two_containers_share_it", shared)
        .needs(&[Capability::Volumes, Capability::Exec])
        .proves(&["1.mounts.kind"]);
    group
        .case("read_only_mount_refuses_writes", read_only)
        .needs(VOLUMES)
        .proves(KIND);
    group
        .case("a_new_volume_of_the_name_is_empty", new_is_empty)
        .needs(VOLUMES)
        .proves(&["3.volumes.remove"]);
    group
        .case("unknown_volume_in_a_config", unknown_in_config)
        .needs(VOLUMES)
        .proves(&["3.create.atomic"]);
    group
        .case("size_is_held", size)
        .needs(&[Capability::VolumeSize, Capability::Volumes])
        .proves(&["5.declared"]);
    group
        .case("size_without_the_capability_is_refused", size_refused)
        .needs_missing(Capability::VolumeSize)
        .proves(&["5.undeclared"]);
    group.case("bind_mount", bind_mount).needs(BINDS).proves(KIND);
    group
        .case("read_only_bind_mount", read_only_bind)
        .needs(BINDS)
        .proves(KIND);
    group
        .case("bind_of_a_missing_directory", missing_bind)
        .needs(BINDS)
        .proves(&["1.mounts.kind", "3.create.atomic"]);
}

async fn make(cx: &Context, suffix: &str) -> Result<Volume, CaseError> {
    Ok(cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name(suffix)).label("kept", "yes"))
        .await?)
}

fn with_volume<const N: usize>(cx: &Context, commands: [&str; N], volume: &Volume) -> ContainerConfig {
    cx.config(commands)
        .volume(VolumeMount::new(&volume.name, "/data"))
}

async fn create(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    expect::equal("name", volume.name, cx.name("v"))?;
    expect::equal(
        "labels without the driver's own",
        volume.labels,
        [("kept".to_owned(), "yes".to_owned())].into(),
    )?;
    expect::equal("driver", volume.driver.as_str(), cx.driver().name())?;
    expect::that(
        "a time after 2020 in milliseconds",
        volume.created_at > 1_577_836_800_000,
        volume.created_at,
    )
}

async fn create_same_again(cx: Context) -> CaseResult {
    let first = make(&cx, "v").await?;
    expect::equal("volume of the second call", make(&cx, "v").await?, first)
}

async fn another_spec(cx: Context) -> CaseResult {
    let first = make(&cx, "v").await?;
    let other = VolumeConfig::new(&first.name).label("kept", "no");
    let error = expect::permanent(cx.driver().create_volume(&other).await, "VOLUME_CREATION_FAILED")?;
    expect::contains("a message", &error.to_string(), &first.name)?;
    expect::equal("the first volume", make(&cx, "v").await?, first)
}

async fn bad_name(cx: Context) -> CaseResult {
    for name in ["", "x", "-x", "a/b", "../x", "a b"] {
        expect::violation(cx.driver().create_volume(&VolumeConfig::new(name)).await, "/name")?;
    }
    Ok(())
}

async fn reserved_label(cx: Context) -> CaseResult {
    let config = VolumeConfig::new(cx.name("v")).label("openagent.owner", "me");
    expect::permanent(cx.driver().create_volume(&config).await, "CONFIGURATION_ERROR")?;
    Ok(())
}

async fn remove(cx: Context) -> CaseResult {
    let (one, two) = (make(&cx, "one").await?, make(&cx, "two").await?);
    cx.driver().remove_volume(&one.id).await?;
    cx.driver().remove_volume(&two.name).await?;
    expect::equal("volumes", cx.driver().list_volumes().await?, Vec::new())
}

async fn remove_unknown(cx: Context) -> CaseResult {
    let name = cx.name("unknown");
    let error = expect::permanent(cx.driver().remove_volume(&name).await, "VOLUME_NOT_FOUND")?;
    expect::equal("message", error.to_string(), format!("Volume {name} not found"))
}

/// By a created container first, by one that runs then, by one that has ended at last.
async fn remove_in_use(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    let refused = async || {
        let error = expect::permanent(
            cx.driver().remove_volume(&volume.name).await,
            "VOLUME_REMOVE_FAILED",
        )?;
        expect::contains("a message", &error.to_string(), &volume.name)
    };
    let id = cx
        .create(&with_volume(&cx, ["wait-file", "/data/go"], &volume))
        .await?
        .id;
    refused().await?;
    cx.driver().start_container(&id).await?;
    refused().await?;
    cx.finish(&with_volume(&cx, ["write", "/data/go", "1"], &volume))
        .await?;
    cx.wait_exit(&id).await?;
    refused().await
}

async fn list(cx: Context) -> CaseResult {
    let mut made = vec![
        make(&cx, "b").await?,
        make(&cx, "a").await?,
        make(&cx, "c").await?,
    ];
    made.sort_by(|one, two| one.name.cmp(&two.name));
    expect::equal("volumes by name", cx.driver().list_volumes().await?, made)
}

async fn get(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    expect::equal(
        "by name",
        cx.driver().get_volume(&volume.name).await?,
        Some(volume.clone()),
    )?;
    expect::equal("by id", cx.driver().get_volume(&volume.id).await?, Some(volume))
}

async fn get_unknown(cx: Context) -> CaseResult {
    expect::equal("volume", cx.driver().get_volume(&cx.name("unknown")).await?, None)
}

async fn content_outlives(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    let first = cx
        .finish(&with_volume(&cx, ["write", "/data/file", "kept"], &volume))
        .await?;
    first.output.expect("write", "4")?;
    cx.driver()
        .remove_container(
            &first.container.id,
            &RemoveOptions {
                volumes: true,
                ..Default::default()
            },
        )
        .await?;
    cx.finish(&with_volume(&cx, ["read", "/data/file"], &volume))
        .await?
        .output
        .expect("read", "kept")
}

async fn shared(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    let config = with_volume(&cx, ["forever"], &volume);
    let (one, two) = (cx.run(&config).await?.id, cx.run(&config).await?.id);
    cx.exec_lines(&one, ["write", "/data/file", "from one"])
        .await?
        .expect("write", "8")?;
    cx.exec_lines(&two, ["read", "/data/file"])
        .await?
        .expect("read", "from one")
}

async fn read_only(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    let config = cx.config(["write", "/data/file", "1", ",", "mount-at", "/data"]);
    let output = cx
        .finish(&config.volume(VolumeMount::new(&volume.name, "/data").read_only(true)))
        .await?
        .output;
    output.expect_errno("write", "EROFS")?;
    expect::that(
        "a mount that is ro",
        output.value("mount-at")?.ends_with(" ro"),
        output.text(),
    )
}

async fn new_is_empty(cx: Context) -> CaseResult {
    let volume = make(&cx, "v").await?;
    let first = cx
        .finish(&with_volume(&cx, ["write", "/data/file", "old"], &volume))
        .await?
        .container;
    cx.driver()
        .remove_container(&first.id, &RemoveOptions::default())
        .await?;
    cx.driver().remove_volume(&volume.name).await?;
    let volume = make(&cx, "v").await?;
    cx.finish(&with_volume(&cx, ["read", "/data/file"], &volume))
        .await?
        .output
        .expect_errno("read", "ENOENT")
}

/// It is neither made silently nor left for the start to fail on.
async fn unknown_in_config(cx: Context) -> CaseResult {
    let name = cx.name("unknown");
    let config = cx.config(NOTHING).volume(VolumeMount::new(&name, "/data"));
    match cx.driver().create_container(&config).await {
        Err(error) => {
            let codes = ["VOLUME_NOT_FOUND", "CONFIGURATION_ERROR"];
            expect::that(
                format!("one of {codes:?}, permanent"),
                codes.contains(&error.code()) && !error.is_retryable(),
                &error,
            )?;
            expect::contains("a message", &error.to_string(), &name)?;
        }
        Ok(container) => expect::that("a refusal", false, container)?,
    }
    expect::equal("volume", cx.driver().get_volume(&name).await?, None)
}

async fn size(cx: Context) -> CaseResult {
    let config = VolumeConfig {
        size_mib: Some(16),
        ..VolumeConfig::new(cx.name("v"))
    };
    let volume = cx.driver().create_volume(&config).await?;
    expect::equal("size that is told", volume.size_mib, Some(16))?;
    let output = cx
        .finish(&with_volume(&cx, ["fill", "/data/file", "32"], &volume))
        .await?
        .output;
    let full = ["ENOSPC", "EDQUOT"]
        .into_iter()
        .any(|errno| output.errno("fill") == Some(errno));
    expect::that("fill!ENOSPC or fill!EDQUOT", full, output.text())
}

async fn size_refused(cx: Context) -> CaseResult {
    let config = VolumeConfig {
        size_mib: Some(16),
        ..VolumeConfig::new(cx.name("v"))
    };
    expect::violation(cx.driver().create_volume(&config).await, "/sizeMib")?;
    let unknown = cx.driver().remove_volume(&config.name).await;
    expect::permanent(unknown, "VOLUME_NOT_FOUND").map(drop)
}

/// A directory of the host that any user may write to.
fn host_directory() -> Result<tempfile::TempDir, CaseError> {
    use std::os::unix::fs::PermissionsExt;
    let broken =
        |error: std::io::Error| driver_types::DriverError::file_system(format!("no directory: {error}"));
    let directory = tempfile::tempdir().map_err(broken)?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).map_err(broken)?;
    std::fs::write(directory.path().join("from-host"), "hello").map_err(broken)?;
    Ok(directory)
}

async fn bind_mount(cx: Context) -> CaseResult {
    let directory = host_directory()?;
    let mount = VolumeMount::new(directory.path().to_string_lossy(), "/data");
    let config = cx
        .config([
            "read",
            "/data/from-host",
            ",",
            "write",
            "/data/from-inside",
            "back",
        ])
        .volume(mount);
    let output = cx.finish(&config).await?.output;
    output.expect("read", "hello")?;
    output.expect("write", "4")?;
    let back = std::fs::read_to_string(directory.path().join("from-inside")).unwrap_or_default();
    expect::equal("what the host sees", back, "back")
}

async fn read_only_bind(cx: Context) -> CaseResult {
    let directory = host_directory()?;
    let mount = VolumeMount::new(directory.path().to_string_lossy(), "/data").read_only(true);
    let output = cx
        .finish(&cx.config(["write", "/data/from-inside", "back"]).volume(mount))
        .await?
        .output;
    output.expect_errno("write", "EROFS")?;
    expect::that(
        "nothing new on the host",
        !directory.path().join("from-inside").exists(),
        output.text(),
    )
}

async fn missing_bind(cx: Context) -> CaseResult {
    let directory = host_directory()?;
    let missing = directory.path().join("missing");
    let config = cx
        .config(NOTHING)
        .volume(VolumeMount::new(missing.to_string_lossy(), "/data"));
    let error = expect::permanent(cx.driver().create_container(&config).await, "CONFIGURATION_ERROR")?;
    expect::contains("a message", &error.to_string(), &missing.to_string_lossy())?;
    expect::that("no directory made on the host", !missing.exists(), &missing)
}
