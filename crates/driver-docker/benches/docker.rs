//! The driver against raw keep-alive requests to the same engine, in the same run: `cargo xtask bench docker`.
//!
//! Every pair is measured in turn, so that both see the same noise; medians are compared. The raw side does the same
//! requests with the same bodies, as many at the same time, and reads the replies without parsing them. Figures: get and list at most 1.15, a
//! cached get under 2 µs, the cycle at most 1.05.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark without its preconditions cannot go on"
)]

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driver_docker::{DockerDriver, DockerOptions, Host};
use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter, ImportOptions, RemoveOptions,
    SecurityOptions,
};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

const READS: usize = 200;
const CYCLES: usize = 15;
const LISTED: usize = 20;
/// How many containers of a list the driver inspects at the same time.
const INSPECTS: usize = 8;
const PROGRAM: &str = "/bin/busybox";
const IMAGE: &str = "driver-bench/docker:1";

fn main() {
    let host = match std::env::var("DRIVER_CONFORMANCE_DOCKER_HOST") {
        Ok(host) => Host::parse(&host).unwrap(),
        Err(_) => Host::discover().unwrap(),
    };
    let Host::Unix(socket) = host.clone() else {
        println!("skipped: the raw side speaks to a Unix socket, and the engine is at {host}");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let owner = format!("bench-{}", std::process::id());
        let options = DockerOptions::default().host(host).owner(owner);
        let driver = DockerDriver::connect(options.clone().cache(false)).unwrap();
        if let Some(reason) = unavailable(&driver).await {
            assert!(std::env::var_os("DRIVER_REQUIRE_DOCKER").is_none(), "{reason}");
            println!("skipped: {reason}");
            return;
        }
        import(&driver).await;
        let cached = DockerDriver::connect(options).unwrap();
        let mut raws = Vec::new();
        for _ in 0..INSPECTS {
            raws.push(Raw::connect(socket.clone()).await);
        }
        measure(&driver, &cached, &mut raws).await;
        for container in driver.list_containers(&ContainerFilter::default()).await.unwrap() {
            driver.force_remove(&container.id).await.unwrap();
        }
        driver.remove_image(IMAGE).await.unwrap();
    });
}

async fn unavailable(driver: &DockerDriver) -> Option<String> {
    if !std::path::Path::new(PROGRAM).exists() {
        return Some(format!("{PROGRAM} is not there; install busybox-static"));
    }
    driver.health_check().await.unwrap().error
}

async fn import(driver: &DockerDriver) {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(PROGRAM, "bin/busybox").unwrap();
    let archive = Bytes::from(archive.into_inner().unwrap());
    let stream = Box::pin(futures_util::stream::iter([Ok(archive)]));
    driver
        .import_image(&ImportOptions::new(IMAGE), stream)
        .await
        .unwrap();
}

fn config() -> ContainerConfig {
    let security = SecurityOptions::default();
    ContainerConfig::new("bench", IMAGE)
        .command([PROGRAM, "true"])
        .security(security)
}

async fn measure(driver: &DockerDriver, cached: &DockerDriver, raws: &mut [Raw]) {
    let id = driver.create_container(&config()).await.unwrap().id;
    let raw = raws.first_mut().unwrap();
    let inspected = raw.get(&format!("/containers/{id}/json")).await;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        theirs.push(timed(async || drop(raw.get(&format!("/containers/{id}/json")).await)).await);
        ours.push(timed(async || drop(driver.get_container(&id).await.unwrap())).await);
    }
    ratio("get, uncached", &mut ours, &mut theirs);

    let mut hits = Vec::new();
    for _ in 0..READS {
        // The first reads open the event stream and fill the cache; the median is that of hits.
        for _ in 0..100 {
            hits.push(timed(async || drop(cached.get_container(&id).await.unwrap())).await);
        }
    }
    println!(
        "get, cached                  {:>9.2} µs",
        micros(median(&mut hits))
    );

    for _ in 1..LISTED {
        driver.create_container(&config()).await.unwrap();
    }
    let label = inspected["Config"]["Labels"]["openagent.owner"].as_str().unwrap();
    let filters = json!({ "label": [format!("openagent.owner={label}")] }).to_string();
    let filters = filters
        .replace('{', "%7B")
        .replace('}', "%7D")
        .replace('"', "%22")
        .replace('[', "%5B")
        .replace(']', "%5D");
    let list = format!("/containers/json?all=true&filters={filters}");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..READS / 4 {
        theirs.push(timed(async || list_raw(raws, &list).await).await);
        ours.push(
            timed(async || drop(driver.list_containers(&ContainerFilter::default()).await.unwrap())).await,
        );
    }
    ratio("list of 20 with all fields", &mut ours, &mut theirs);

    let raw = raws.first_mut().unwrap();
    let body = body_of(&inspected);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..CYCLES {
        theirs.push(timed(async || raw.cycle(&body).await).await);
        ours.push(timed(async || cycle(driver).await).await);
    }
    ratio("create+start+wait+remove", &mut ours, &mut theirs);
}

async fn cycle(driver: &DockerDriver) {
    let id = driver.create_container(&config()).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    assert_eq!(driver.wait_exit(&id).await.unwrap().exit_code, Some(0));
    driver
        .remove_container(&id, &RemoveOptions::default())
        .await
        .unwrap();
}

/// The body of a create call that makes the same container.
fn body_of(inspected: &Value) -> Value {
    let mut body = inspected["Config"].clone();
    body["HostConfig"] = inspected["HostConfig"].clone();
    // The engine chooses; the old one is the old container's.
    body["Hostname"] = "".into();
    body
}

async fn timed(work: impl AsyncFnOnce()) -> Duration {
    let begin = Instant::now();
    work().await;
    begin.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ratio(name: &str, ours: &mut [Duration], theirs: &mut [Duration]) {
    let (ours, theirs) = (micros(median(ours)), micros(median(theirs)));
    println!(
        "{name:<28} {ours:>9.0} µs, raw {theirs:>9.0} µs, ratio {:.2}",
        ours / theirs
    );
}

/// The list has neither limits nor exits: the raw side asks for each as well, on all its connections.
async fn list_raw(raws: &mut [Raw], path: &str) {
    let listed = raws.first_mut().unwrap().get(path).await;
    let ids = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["Id"].as_str().unwrap());
    let ids = Mutex::new(ids);
    futures_util::future::join_all(raws.iter_mut().map(async |raw| {
        loop {
            let Some(id) = ids.lock().unwrap().next() else {
                return;
            };
            raw.call(Method::GET, &format!("/containers/{id}/json"), &Value::Null)
                .await;
        }
    }))
    .await;
}

/// One connection that is kept.
struct Raw(SendRequest<Full<Bytes>>);

impl Raw {
    async fn connect(socket: PathBuf) -> Self {
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Bytes {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1.41{path}"))
            .header("host", "docker")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{path}: {status}: {body:?}");
        body
    }

    async fn get(&mut self, path: &str) -> Value {
        let body = self.call(Method::GET, path, &Value::Null).await;
        serde_json::from_slice(&body).unwrap()
    }

    async fn cycle(&mut self, body: &Value) {
        let made = self.call(Method::POST, "/containers/create", body).await;
        let made: Value = serde_json::from_slice(&made).unwrap();
        let id = made["Id"].as_str().unwrap();
        self.call(Method::POST, &format!("/containers/{id}/start"), &Value::Null)
            .await;
        self.call(Method::POST, &format!("/containers/{id}/wait"), &Value::Null)
            .await;
        self.call(Method::DELETE, &format!("/containers/{id}"), &Value::Null)
            .await;
    }
}
