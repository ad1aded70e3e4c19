//! Engines that stall, break off, talk nonsense or are not there: no call hangs, panics, loses or misreports.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use driver_docker::DockerOptions;
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerFilter, ContainerStatus, Deadlines, DriverError, Operation,
    WaitCondition,
};
use support::{FakeEngine, ID, Reply, connect, inspect};

const INSPECT: &str = "GET /containers/0123456789abcdef";

fn short(operation: Operation) -> DockerOptions {
    let deadlines = Deadlines::default().with(operation, Some(Duration::from_millis(200)));
    DockerOptions::default().deadlines(deadlines)
}

fn is_network_error(error: &DriverError) -> bool {
    error.code() == "NETWORK_ERROR" && error.is_retryable()
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_that_names_the_operation() {
    let engine = FakeEngine::start(|request| {
        request
            .starts_with(INSPECT)
            .then(|| Reply::Stall("{\"Id\":".into()))
    });
    let error = engine
        .driver(short(Operation::GetContainer))
        .get_container(ID)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "TIMEOUT_ERROR");
    assert_eq!(error.to_string(), "Operation get_container timed out after 200ms");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn an_engine_that_never_answers_is_a_timeout() {
    let engine = FakeEngine::start(|_| Some(Reply::Silence));
    let error = engine
        .driver(short(Operation::ListContainers))
        .list_containers(&ContainerFilter::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Operation list_containers timed out after 200ms"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_retryable_network_error() {
    let engine = FakeEngine::start(|request| {
        request
            .starts_with(INSPECT)
            .then(|| Reply::Cut("{\"Id\":".into()))
    });
    let error = engine
        .driver(DockerOptions::default())
        .get_container(ID)
        .await
        .unwrap_err();
    assert!(is_network_error(&error), "{error:?}");
}

#[tokio::test]
async fn nonsense_is_an_internal_error() {
    let engine = FakeEngine::start(|request| {
        request
            .starts_with(INSPECT)
            .then(|| Reply::Json(200, "<html>".into()))
    });
    let error = engine
        .driver(DockerOptions::default())
        .get_container(ID)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "INTERNAL_ERROR");
    assert_eq!(error.operation(), Some("get_container"));
}

#[tokio::test]
async fn an_unknown_status_does_not_break_a_list() {
    let engine = FakeEngine::start(|request| {
        if request.starts_with("GET /containers/json") {
            let item = format!(
                r#"{{"Id":"{ID}","State":"hibernating","Labels":{{"openagent.owner":"default"}},"X":[]}}"#
            );
            return Some(Reply::Json(200, format!("[{item}]")));
        }
        request
            .starts_with(INSPECT)
            .then(|| Reply::Json(200, inspect("hibernating")))
    });
    let driver = engine.driver(DockerOptions::default());
    let listed = driver.list_containers(&ContainerFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].status, ContainerStatus::Running);
    assert_eq!(listed[0].resources.memory, 512);
}

#[tokio::test]
async fn an_abbreviated_id_is_not_asked_for() {
    let engine = FakeEngine::start(|_| None);
    let driver = engine.driver(DockerOptions::default());
    assert_eq!(driver.get_container(&ID[..12]).await.unwrap(), None);
    assert_eq!(driver.get_container("../info").await.unwrap(), None);
    assert_eq!(engine.count("GET /containers"), 0);
}

#[tokio::test]
async fn requests_carry_the_version_of_the_engine() {
    // The fake engine takes off `/v1.41`; a request without it would not be found by this text.
    let engine = FakeEngine::start(|_| None);
    engine
        .driver(DockerOptions::default())
        .capabilities()
        .await
        .unwrap();
    assert_eq!(engine.count("GET /info"), 1);
}

#[tokio::test]
async fn a_socket_that_is_not_there_or_stale_is_unhealthy_and_retryable() {
    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    for socket in [directory.path().join("absent"), stale] {
        let driver = connect(&socket, DockerOptions::default());
        let error = driver.get_container(ID).await.unwrap_err();
        assert!(is_network_error(&error), "{error:?}");
        assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
        let health = driver.health_check().await.unwrap();
        assert!(!health.is_healthy());
        assert!(health.error.is_some());
    }
}

#[tokio::test]
async fn an_engine_that_stalls_is_unhealthy() {
    let engine = FakeEngine::start(|_| Some(Reply::Silence));
    let health = engine
        .driver(short(Operation::HealthCheck))
        .health_check()
        .await
        .unwrap();
    assert!(health.error.unwrap().contains("did not answer within 200 ms"));
}

#[tokio::test]
async fn a_warning_is_a_refusal_and_nothing_stays() {
    let engine = FakeEngine::start(|request| match request {
        _ if request.starts_with("POST /containers/create") => Some(Reply::Json(
            201,
            format!(r#"{{"Id":"{ID}","Warnings":["limit discarded"]}}"#),
        )),
        _ if request.starts_with("DELETE /containers/") => Some(Reply::Json(204, String::new())),
        _ => None,
    });
    let driver = engine.driver(DockerOptions::default());
    let error = driver
        .create_container(&ContainerConfig::new("s", "i"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "CONTAINER_CREATION_FAILED");
    assert!(error.to_string().contains("limit discarded"));
    assert!(!error.is_retryable());
    assert_eq!(engine.count("DELETE /containers/0123456789abcdef"), 1);
}

#[tokio::test]
async fn a_limit_that_the_engine_dropped_silently_is_a_refusal() {
    let engine = FakeEngine::start(|request| match request {
        _ if request.starts_with("POST /containers/create") => {
            Some(Reply::Json(201, format!(r#"{{"Id":"{ID}"}}"#)))
        }
        _ if request.starts_with(INSPECT) => {
            Some(Reply::Json(200, inspect("created").replace("536870912", "0")))
        }
        _ if request.starts_with("DELETE /containers/") => Some(Reply::Json(204, String::new())),
        _ => None,
    });
    let driver = engine.driver(DockerOptions::default());
    let error = driver
        .create_container(&ContainerConfig::new("s", "i"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("dropped memory"), "{error}");
    assert_eq!(engine.count("DELETE /containers/0123456789abcdef"), 1);
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found_and_removed() {
    let engine = FakeEngine::start(|request| match request {
        _ if request.starts_with("POST /containers/create") => Some(Reply::Close),
        _ if request.starts_with("GET /containers/json") && request.contains("attempt") => Some(Reply::Json(
            200,
            format!(r#"[{{"Id":"{ID}","State":"created"}}]"#),
        )),
        _ if request.starts_with(INSPECT) => Some(Reply::Json(200, inspect("created"))),
        _ if request.starts_with("DELETE /containers/") => Some(Reply::Json(204, String::new())),
        _ => None,
    });
    let driver = engine.driver(DockerOptions::default());
    let error = driver
        .create_container(&ContainerConfig::new("s", "i"))
        .await
        .unwrap_err();
    assert!(is_network_error(&error), "{error:?}");
    assert_eq!(engine.count("DELETE /containers/0123456789abcdef"), 1);
}

#[tokio::test]
async fn a_create_that_is_dropped_is_finished_and_undone() {
    let engine = FakeEngine::start(|request| match request {
        _ if request.starts_with("POST /containers/create") => {
            Some(Reply::Json(201, format!(r#"{{"Id":"{ID}"}}"#)))
        }
        _ if request.starts_with(INSPECT) => Some(Reply::Json(200, inspect("created"))),
        _ if request.starts_with("DELETE /containers/") => Some(Reply::Json(204, String::new())),
        _ => None,
    });
    let driver = engine.driver(DockerOptions::default());
    let config = ContainerConfig::new("s", "i");
    tokio::select! {
        biased;
        made = driver.create_container(&config) => panic!("{made:?}"),
        () = engine.saw("POST /containers/create") => {}
    }
    engine.saw("DELETE /containers/0123456789abcdef").await;
}

#[tokio::test]
async fn an_image_that_is_missing_is_not_a_missing_container() {
    let engine = FakeEngine::start(|request| {
        let missing = r#"{"message":"No such image: i:latest"}"#;
        request
            .starts_with("POST /containers/create")
            .then(|| Reply::Json(404, missing.into()))
    });
    let driver = engine.driver(DockerOptions::default());
    let error = driver
        .create_container(&ContainerConfig::new("s", "i"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "IMAGE_NOT_FOUND");
}

#[tokio::test]
async fn a_waiter_survives_an_engine_that_goes_away() {
    // The first look finds it running; then the engine breaks off twice; then the container has ended.
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let engine = FakeEngine::start(move |request| {
        if !request.starts_with(INSPECT) {
            return None;
        }
        Some(match looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::Json(200, inspect("running")),
            1 | 2 => Reply::Cut("{".into()),
            _ => Reply::Json(200, inspect("exited")),
        })
    });
    let driver = engine.driver(DockerOptions::default());
    let exit = driver.wait_container(ID, WaitCondition::Exited).await.unwrap();
    assert_eq!(exit.exit_code, Some(0));
}
