//! Escapes by names, references and ids that could be taken for paths, and by names of processes that are no text.

use driver_types::{Capability, NetworkConfig, RemoveOptions, StopOptions, VolumeConfig};

use super::escape::{ESCAPE, needs_a_kernel};
use super::files::bytes;
use super::inside::NOTHING;
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;
use crate::workload::import_options;

pub(super) fn register(group: &mut Group) {
    group
        .case("names_of_containers_are_no_paths", containers)
        .proves(ESCAPE);
    group
        .case("names_of_volumes_are_no_paths", volumes)
        .needs(&[Capability::Volumes])
        .proves(ESCAPE);
    group
        .case("names_of_networks_are_no_paths", networks)
        .needs(&[Capability::Networks])
        .proves(ESCAPE);
    group
        .case("references_of_imports_are_no_paths", imports)
        .needs(&[Capability::ImportImage])
        .proves(ESCAPE);
    group
        .case("references_of_snapshots_are_no_paths", snapshots)
        .needs(&[Capability::Snapshot])
        .proves(ESCAPE);
    group.case("ids_are_no_paths", ids).proves(ESCAPE);
    group
        .case("names_of_processes_are_only_bytes", processes)
        .needs(&[Capability::Exec])
        .proves(ESCAPE);
}

/// What a name must not be.
fn hostile() -> Vec<String> {
    let fixed = [
        "..",
        ".",
        "../x",
        "../../etc",
        "/etc",
        "a/../b",
        "a\0b",
        "a\nb",
        "a\\b",
        "%2e%2e",
        "\u{202e}ab",
    ];
    let long = "x".repeat(300);
    fixed.into_iter().map(str::to_owned).chain([long]).collect()
}

/// The main process calls itself what no text is and what looks like a dead process. It is reached and ended all the same.
async fn processes(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let config = cx.config(["unname", ",", "forever"]).init(false);
    let id = cx.run(&config).await?.id;
    crate::context::until("the new name", || async {
        Ok(cx.lines(&id).await?.value("unname").is_ok().then_some(()))
    })
    .await?;
    cx.lines(&id).await?.expect("unname", "ok")?;
    cx.exec_lines(&id, ["pid"]).await?;
    cx.driver().stop_container(&id, &StopOptions::timeout(0)).await?;
    let exit = cx.wait_exit(&id).await?;
    expect::equal("exit code", exit.exit_code, Some(137))
}

async fn containers(cx: Context) -> CaseResult {
    for name in hostile() {
        let named = cx
            .driver()
            .create_container(&cx.config(NOTHING).name(&name))
            .await;
        expect::violation(named, "/name")?;
        let mut config = cx.config(NOTHING);
        config.session_id = name;
        expect::violation(cx.driver().create_container(&config).await, "/sessionId")?;
    }
    Ok(())
}

async fn volumes(cx: Context) -> CaseResult {
    for name in hostile() {
        expect::violation(
            cx.driver().create_volume(&VolumeConfig::new(&name)).await,
            "/name",
        )?;
    }
    Ok(())
}

async fn networks(cx: Context) -> CaseResult {
    for name in hostile() {
        expect::violation(
            cx.driver().create_network(&NetworkConfig::new(&name)).await,
            "/name",
        )?;
    }
    Ok(())
}

/// A reference may have slashes, so a few of the names are references.
fn references() -> Vec<String> {
    let mut references = hostile();
    references.retain(|name| name.len() < 300);
    references
}

async fn imports(cx: Context) -> CaseResult {
    for reference in references() {
        let imported = cx
            .driver()
            .import_image(&import_options(&reference), bytes(vec![0; 1024]))
            .await;
        expect::permanent(imported, "CONFIGURATION_ERROR")?;
    }
    Ok(())
}

async fn snapshots(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    for reference in references() {
        let taken = cx.driver().snapshot_container(&id, &reference).await;
        expect::permanent(taken, "CONFIGURATION_ERROR")?;
    }
    Ok(())
}

/// Neither found nor removed, whatever lies at the path.
async fn ids(cx: Context) -> CaseResult {
    let id = cx.create(&cx.config(NOTHING)).await?.id;
    let mut ids = hostile();
    ids.extend([
        format!("../{id}"),
        format!("{id}/"),
        format!("./{id}"),
        format!("{id}/../{id}"),
    ]);
    for wrong in ids {
        let found = cx.driver().get_container(&wrong).await;
        expect::that("no container", !matches!(found, Ok(Some(_))), &found)?;
        let removed = cx
            .driver()
            .remove_container(&wrong, &RemoveOptions::default())
            .await;
        expect::permanent(removed, "CONTAINER_NOT_FOUND")?;
        let started = cx.driver().start_container(&wrong).await;
        expect::permanent(started, "CONTAINER_NOT_FOUND")?;
    }
    cx.get(&id).await.map(drop)
}
