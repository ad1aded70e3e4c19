//! Pulls.

use driver_types::{PullProgress, PullRequest, RegistryAuth};
use futures_util::{StreamExt, TryStreamExt};
use rstest::rstest;
use serde_json::json;

use super::super::config::architecture;
use super::super::source::digest_of;
use super::registry::{Registry, gzip};
use super::*;

async fn pull(store: &ImageStore, request: &PullRequest) -> Result<Vec<PullProgress>> {
    store.pull(request)?.try_collect().await
}

fn image(progress: &[PullProgress]) -> Image {
    let last = progress.last().unwrap();
    assert_eq!(last.status, PullProgress::COMPLETE);
    last.image.clone().unwrap()
}

#[tokio::test]
async fn an_image() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let descriptor = registry
        .push("team/a:1", architecture(), &["lower", "upper", "lower"])
        .await;
    let fixture = Fixture::new();
    let reference = registry.reference("team/a:1");
    let progress = pull(&fixture.store, &PullRequest::new(&reference)).await.unwrap();
    let pulled = image(&progress);
    assert_eq!(pulled.references, [reference.as_str()]);
    let spec = fixture.store.resolve(&reference).unwrap().unwrap();
    let layers: Vec<_> = spec.layers.iter().map(|layer| names(Path::new(layer))).collect();
    assert_eq!(layers, [["lower"], ["upper"]]);
    assert_eq!(
        (spec.id, spec.command),
        (Some(pulled.id.clone()), vec!["c".to_owned()])
    );
    let downloading = progress.iter().filter(|item| item.status == "downloading");
    assert!(downloading.clone().count() >= 2);
    assert!(
        downloading
            .clone()
            .all(|item| item.current_bytes <= item.total_bytes && item.layer.is_some())
    );

    // Again: nothing is fetched. And by digest.
    let again = pull(&fixture.store, &PullRequest::new(&reference)).await.unwrap();
    assert_eq!(image(&again), pulled);
    assert!(again.iter().all(|item| item.status != "downloading"));
    let by_digest = format!(
        "{}@{}",
        registry.reference("team/a"),
        descriptor["digest"].as_str().unwrap()
    );
    let progress = pull(&fixture.store, &PullRequest::new(&by_digest)).await.unwrap();
    assert_eq!(image(&progress).id, pulled.id);
    assert!(image(&progress).references.contains(&by_digest));
    assert!(names(&fixture.store.tmp()).is_empty());
}

#[tokio::test]
async fn the_image_for_this_machine() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let other = registry.push("a:other", "s390x", &["other"]).await;
    let mine = registry.push("a:mine", architecture(), &["mine"]).await;
    registry
        .manifest("a:both", "index", json!({"manifests": [other, mine]}))
        .await;
    registry
        .manifest("a:neither", "index", json!({"manifests": [other]}))
        .await;
    let fixture = Fixture::new();
    let progress = pull(&fixture.store, &PullRequest::new(registry.reference("a:both")))
        .await
        .unwrap();
    let spec = fixture.store.resolve(&image(&progress).id).unwrap().unwrap();
    assert_eq!(names(Path::new(&spec.layers[0])), ["mine"]);
    for name in ["a:neither", "a:other"] {
        let error = pull(&fixture.store, &PullRequest::new(registry.reference(name)))
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("IMAGE_PULL_FAILED", false));
        assert!(error.to_string().contains("s390x"), "{error}");
    }
}

#[tokio::test]
async fn pulls_of_one_reference_are_done_once() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    registry.push("a:1", architecture(), &["x", "y"]).await;
    let fixture = Fixture::new();
    let request = PullRequest::new(registry.reference("a:1"));
    // The streams are there before the first of them is polled, and a clone of the store is the same store.
    let streams: Vec<_> = (0..4)
        .map(|_| fixture.store.clone().pull(&request).unwrap())
        .collect();
    let all =
        futures_util::future::try_join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>));
    let all = all.await.unwrap();
    let resolved: Vec<_> = all
        .iter()
        .map(|one| one.iter().filter(|item| item.status == "resolving").count())
        .collect();
    assert_eq!(resolved, [1, 1, 1, 1], "all saw the one pull from its beginning");
    assert!(all.iter().all(|one| image(one) == image(&all[0])));
}

#[tokio::test]
async fn what_the_registry_does_not_have() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    registry.push("a:1", architecture(), &["x"]).await;
    let fixture = Fixture::new();
    for name in ["a:2", "unknown:1"] {
        let reference = registry.reference(name);
        let error = pull(&fixture.store, &PullRequest::new(&reference))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "IMAGE_NOT_FOUND");
        assert!(error.to_string().contains(&reference), "{error}");
    }
    assert!(fixture.left().is_empty());
}

#[rstest]
#[case("host")]
#[case("0000000000000000000000000000000000000000000000000000000000000000")]
#[tokio::test]
async fn what_no_registry_has(#[case] reference: &str) {
    let fixture = Fixture::new();
    let error = pull(&fixture.store, &PullRequest::new(reference))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "IMAGE_NOT_FOUND");
}

#[tokio::test]
async fn credentials() {
    let Some(registry) = Registry::start(true) else {
        return;
    };
    registry.push("a:1", architecture(), &["x"]).await;
    let fixture = Fixture::new();
    let mut request = PullRequest::new(registry.reference("a:1"));
    let auth = |password: &str| {
        Some(RegistryAuth {
            username: "user".into(),
            password: password.into(),
        })
    };
    for (wrong, why) in [(None, "wants credentials"), (auth("other"), "does not accept")] {
        request.auth = wrong;
        let error = pull(&fixture.store, &request).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("AUTHENTICATION_FAILED", false)
        );
        assert!(error.to_string().contains(why), "{error}");
        assert!(!error.report().contains("other"), "no secret in an error");
    }
    request.auth = auth("U*U");
    image(&pull(&fixture.store, &request).await.unwrap());
}

#[tokio::test]
async fn a_registry_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fixture = Fixture::new();
    let error = pull(&fixture.store, &PullRequest::new(format!("{address}/a:1")))
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("IMAGE_PULL_FAILED", true));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn damaged_content_is_not_taken() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let fixture = Fixture::new();
    registry.push("a:1", architecture(), &["damaged"]).await;
    let blob = digest_of(&gzip(&Tar::new().file("damaged", "x").end()));
    let path = registry.0.blob(&blob);
    let mut content = fs::read(&path).unwrap();
    content[40] ^= 1;
    fs::write(&path, content).unwrap();
    let error = pull(&fixture.store, &PullRequest::new(registry.reference("a:1")))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("IMAGE_PULL_FAILED", true),
        "{error:?}"
    );
    assert!(error.to_string().contains(&blob), "{error}");
    assert!(fixture.left().is_empty());
}

/// The registry is as good as its manifest, and the manifest lies about the layer.
#[tokio::test]
async fn a_layer_that_is_not_the_one_of_the_config() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))]},
    });
    let config = registry.blob("a", config.to_string().as_bytes()).await;
    let layer = registry.blob("a", &Tar::new().file("x", "x").end()).await;
    registry
        .manifest("a:1", "manifest", json!({"config": config, "layers": [layer]}))
        .await;
    let fixture = Fixture::new();
    let error = pull(&fixture.store, &PullRequest::new(registry.reference("a:1")))
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("IMAGE_PULL_FAILED", false));
    assert!(error.to_string().contains("damaged or changed"), "{error}");
    assert!(fixture.left().is_empty());
}

#[tokio::test]
async fn a_pull_that_nobody_wants_any_more_ends() {
    // A registry that takes the connection and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fixture = Fixture::new();
    let mut stream = fixture
        .store
        .pull(&PullRequest::new(format!("{address}/a:1")))
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().status, "resolving");
    let (mut connection, _) = listener.accept().await.unwrap();
    drop(stream);
    let mut request = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut request)
        .await
        .unwrap();
    assert!(fixture.left().is_empty());
}
