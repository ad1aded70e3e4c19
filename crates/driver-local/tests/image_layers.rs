//! Images of more layers than one option of an overlay holds. Skipped where there are no rights.

#![allow(clippy::unwrap_used)]

#[path = "common/digest.rs"]
mod digest;
#[path = "common/open.rs"]
mod open;

use bytes::Bytes;
use driver_local::LocalOptions;
use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, DriverError};
use futures_util::stream;
use serde_json::json;

use digest::digest;

const IMAGE: &str = "test/layers:1";

/// More than the some eighty that a kernel before 6.7 takes.
const LAYERS: usize = 100;

/// As `docker save` writes it. Each layer has the one file, with its number.
fn archive() -> Bytes {
    let layers: Vec<_> = (1..=LAYERS)
        .map(|number| tar(&[("layer".to_owned(), number.to_string().as_bytes())]))
        .collect();
    let digests: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    let names: Vec<_> = (1..=LAYERS).map(|number| format!("{number}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": names}]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let documents = [
        ("config.json".to_owned(), config.as_bytes()),
        ("manifest.json".to_owned(), manifest.as_bytes()),
    ];
    let layers = names.into_iter().zip(layers.iter().map(Vec::as_slice));
    tar(&documents.into_iter().chain(layers).collect::<Vec<_>>()).into()
}

fn tar(files: &[(String, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn assert_refused(error: &DriverError) {
    let message = error.to_string();
    let told = message.contains("more layers than this kernel takes");
    assert!(told && message.contains("use Linux 6.7"), "{message}");
}

/// Before 6.7 they are refused, and the error tells the way out.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_many_layers_is_mounted_or_refused_with_the_way_out() {
    let state = tempfile::tempdir().unwrap();
    let options = LocalOptions::default().state_dir(state.path().join("state"));
    let Some(driver) = open::open(options).await else {
        return;
    };
    let images = driver.load_images(Box::pin(stream::iter([Ok(archive())]))).await;
    assert_eq!(images.unwrap().len(), 1);
    let config = ContainerConfig::new("session", IMAGE).command(["/absent"]);
    let id = driver.create_container(&config).await.unwrap().id;
    let read = driver.read_file(&id, "/layer").await;
    let started = driver.start_container(&id).await.unwrap_err();
    if driver_local_shim::running_kernel() < Some((6, 7)) {
        assert_refused(&read.unwrap_err());
        assert_refused(&started);
    } else {
        assert_eq!(read.unwrap(), LAYERS.to_string());
        // It came as far as the command.
        assert!(started.to_string().contains("/absent"), "{started}");
    }
    driver.force_remove(&id).await.unwrap();
    let left = std::fs::read_dir(state.path().join("state/containers")).unwrap();
    assert_eq!(left.count(), 0);
}
