//! Pulls from a registry that wants a password: Debian's `docker-registry` on the engine's loopback.
//!
//! Without an engine or the registry the test says that it is skipped, or fails where `DRIVER_REQUIRE_DOCKER` is set.
#![allow(clippy::unwrap_used)]

mod real;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{PushImageOptions, TagImageOptions};
use driver_conformance::LoopbackRegistry;
use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, Image, PullPolicy, PullRequest, RegistryAuth,
    Result,
};
use futures_util::TryStreamExt;
use real::RealEngine;

const USER: &str = "alice";
const PASSWORD: &str = "p:ss wörd";
/// As `htpasswd -B` writes it, for that password.
const HTPASSWD: &str = "alice:$2y$04$tG/T5Vu/FUv2NVi8eg.xb.yyZptA8JbwagGuT1TYbZ25SKvLqi5ii\n";

/// A registry in the engine's network namespace.
fn start() -> Option<LoopbackRegistry> {
    let namespace = std::env::var("DRIVER_CONFORMANCE_NETNS").ok();
    let registry = LoopbackRegistry::start(Some(HTPASSWD), namespace.as_deref());
    registry.map_or_else(|reason| real::skip(&reason.to_string()), Some)
}

/// Puts the engine's image into the registry, and takes its name there away from the engine.
async fn fill(registry: &LoopbackRegistry, engine: &RealEngine) -> String {
    let Host::Unix(socket) = &engine.host else {
        unreachable!("it was asked for");
    };
    let version = bollard::API_DEFAULT_VERSION;
    let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 60, version).unwrap();
    let name = format!("{}/private/image", registry.address());
    let tag = TagImageOptions {
        repo: Some(name.clone()),
        tag: Some("1".into()),
    };
    docker.tag_image(&engine.image, Some(tag)).await.unwrap();
    let credentials = DockerCredentials {
        username: Some(USER.into()),
        password: Some(PASSWORD.into()),
        ..DockerCredentials::default()
    };
    let options = PushImageOptions {
        tag: Some("1".into()),
        ..PushImageOptions::default()
    };
    docker
        .push_image(&name, Some(options), Some(credentials))
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    format!("{name}:1")
}

fn request(image: &str, password: Option<&str>) -> PullRequest {
    PullRequest {
        auth: password.map(|password| RegistryAuth {
            username: USER.into(),
            password: password.into(),
        }),
        ..PullRequest::new(image)
    }
}

/// The image that the engine has then; it is taken away again.
async fn pull(driver: &DockerDriver, request: &PullRequest) -> Result<Image> {
    let items: Vec<_> = driver.pull_image(request).await?.try_collect().await?;
    let image = items.last().and_then(|item| item.image.clone()).unwrap();
    driver.remove_image(&request.reference).await.unwrap();
    Ok(image)
}

fn log_in(directory: &Path, registry: &str, password: &str) {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    let config = serde_json::json!({ "auths": { registry: { "auth": auth } } });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_wants_a_password_gets_the_right_one() {
    let Some(engine) = RealEngine::open("registry").await else {
        return;
    };
    let registry = match &engine.host {
        Host::Unix(_) => start(),
        Host::Tcp(_) => real::skip("no engine on this machine, whose loopback the registry could share"),
    };
    let Some(registry) = registry else {
        return engine.close().await;
    };
    let image = fill(&registry, &engine).await;
    let login = tempfile::tempdir().unwrap();
    let open = |credentials| {
        let options = DockerOptions::default().host(engine.host.clone());
        DockerDriver::connect(options.owner(engine.owner()).stored_credentials(credentials)).unwrap()
    };
    let driver = open(None);
    driver.remove_image(&image).await.unwrap();

    let pulled = pull(&driver, &request(&image, Some(PASSWORD))).await.unwrap();
    assert!(pulled.references.contains(&image), "{pulled:?}");
    for password in [Some("wrong"), None] {
        let error = pull(&driver, &request(&image, password)).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("AUTHENTICATION_FAILED", false),
            "{error}"
        );
    }

    // Those that `docker login` stored are for pulls without their own, those of a create included.
    let driver = open(Some(login.path().to_owned()));
    log_in(login.path(), registry.address(), PASSWORD);
    pull(&driver, &request(&image, None)).await.unwrap();
    let error = pull(&driver, &request(&image, Some("wrong"))).await.unwrap_err();
    assert_eq!(error.code(), "AUTHENTICATION_FAILED");
    let config = ContainerConfig::new("s", &image)
        .command(["/bin/busybox", "true"])
        .pull_policy(PullPolicy::Always);
    let container = driver.create_container(&config).await.unwrap();
    driver.force_remove(&container.id).await.unwrap();
    driver.remove_image(&image).await.unwrap();
    log_in(login.path(), registry.address(), "wrong");
    let error = pull(&driver, &request(&image, None)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("AUTHENTICATION_FAILED", false),
        "{error}"
    );
    let error = driver.create_container(&config).await.unwrap_err();
    assert_eq!(error.code(), "AUTHENTICATION_FAILED");
    engine.close().await;
}
