//! The conveniences over any driver, with a small driver that keeps one container's files in memory.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use async_trait::async_trait;
use driver_types::*;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use rstest::rstest;

/// Answers from a script; keeps files.
#[derive(Debug, Default)]
struct Fake {
    start_error: Option<DriverError>,
    remove_error: Option<DriverError>,
    pull: Vec<Result<PullProgress>>,
    calls: Mutex<Vec<String>>,
    files: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
}

impl Fake {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl ContainerDriver for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn version(&self) -> &str {
        "1"
    }

    async fn create_container(&self, config: &ContainerConfig) -> Result<ContainerInstance> {
        self.note(format!("create {}", config.image));
        Ok(instance("c1"))
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.note(format!("start {id}"));
        self.start_error.clone().map_or(Ok(()), Err)
    }

    async fn stop_container(&self, _: &str, _: &StopOptions) -> Result<()> {
        unreachable!("no convenience stops")
    }

    async fn remove_container(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        self.note(format!("remove {id} {options:?}"));
        self.remove_error.clone().map_or(Ok(()), Err)
    }

    async fn get_container(&self, id: &str) -> Result<Option<ContainerInstance>> {
        Ok((id == "c1").then(|| instance(id)))
    }

    async fn list_containers(&self, _: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
        Ok(vec![instance("c1")])
    }

    async fn get_container_logs(&self, _: &str, _: &LogOptions) -> Result<String> {
        Ok(String::new())
    }

    async fn health_check(&self) -> Result<DriverHealth> {
        Err(DriverError::driver_health("not scripted"))
    }

    async fn is_container_healthy(&self, _: &str) -> Result<bool> {
        Ok(true)
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<Volume> {
        Err(DriverError::volume_creation(&config.name, "not scripted"))
    }

    async fn remove_volume(&self, id: &str) -> Result<()> {
        Err(DriverError::volume_not_found(id))
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<Network> {
        Err(DriverError::network_creation(&config.name, "not scripted"))
    }

    async fn remove_network(&self, id: &str) -> Result<()> {
        Err(DriverError::network_not_found(id))
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        Ok(Capabilities::none())
    }

    async fn wait_container(&self, id: &str, until: WaitCondition) -> Result<ExitInfo> {
        self.note(format!("wait {id} {until:?}"));
        Ok(ExitInfo {
            exit_code: Some(0),
            signal: None,
            reason: ExitReason::Exited,
            finished_at: 1,
        })
    }

    async fn pull_image(&self, _: &PullRequest) -> Result<BoxStream<PullProgress>> {
        Ok(stream::iter(self.pull.clone()).boxed())
    }

    async fn copy_into(&self, _: &str, path: &str, archive: ByteStream) -> Result<()> {
        let bytes = archive.try_collect::<Vec<_>>().await?.concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mode = entry.header().mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            self.files
                .lock()
                .unwrap()
                .insert(format!("{}/{name}", path.trim_end_matches('/')), (content, mode));
        }
        Ok(())
    }

    /// Sends the archive in pieces of a few bytes. `/dir` is a directory, `/empty` an empty archive, `/cut` a broken one.
    async fn copy_from(&self, _: &str, path: &str) -> Result<ByteStream> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        match path {
            "/empty" => {}
            "/dir" => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, "dir", &[][..]).unwrap();
            }
            _ => {
                let files = self.files.lock().unwrap();
                let (content, _) = files
                    .get(path)
                    .ok_or_else(|| DriverError::file_system(format!("{path}: no such file")))?;
                header.set_size(content.len() as u64);
                archive
                    .append_data(&mut header, "file", content.as_slice())
                    .unwrap();
            }
        }
        let mut bytes = archive.into_inner().unwrap();
        if path == "/cut" {
            bytes.truncate(600);
        }
        let pieces: Vec<_> = bytes.chunks(7).map(|piece| Ok(piece.to_vec().into())).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

fn instance(id: &str) -> ContainerInstance {
    let status = ContainerStatus::Running;
    ContainerInstance {
        id: id.to_owned(),
        name: "web".to_owned(),
        session_id: "session".to_owned(),
        image: "image".to_owned(),
        image_digest: None,
        status,
        state: status.state(),
        endpoint: ContainerInstance::endpoint_of("fake", id, &[]),
        created_at: 1,
        started_at: Some(1),
        finished_at: None,
        exit: None,
        health: None,
        ports: Vec::new(),
        addresses: Vec::new(),
        labels: Labels::new(),
        resources: ResourceLimits::default(),
        enforcement: Enforcement::default(),
        driver: "fake".to_owned(),
        restarts: 0,
    }
}

/// The fake never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the fake answers at once")
}

const FORCED: &str = "remove c1 RemoveOptions { force: true, volumes: true, ignore_missing: true }";

#[test]
fn run_creates_and_starts() {
    let driver = Fake::default();
    let container = now(driver.run_container(&ContainerConfig::new("session", "image"))).unwrap();
    assert_eq!(container, instance("c1"));
    assert_eq!(driver.calls(), ["create image", "start c1"]);
}

#[test]
fn a_run_that_cannot_start_leaves_nothing_behind() {
    let error = DriverError::container_start("c1", "no such program").with_exit_code(127);
    let driver = Fake {
        start_error: Some(error.clone()),
        ..Fake::default()
    };
    let result = now(driver.run_container(&ContainerConfig::new("session", "image")));
    assert_eq!(result.unwrap_err(), error);
    assert_eq!(driver.calls(), ["create image", "start c1", FORCED]);
}

#[test]
fn the_error_of_a_clean_up_is_kept_beside_the_first_one() {
    let start = DriverError::container_start("c1", "no such program");
    let remove = DriverError::container_remove("c1", "busy");
    let driver = Fake {
        start_error: Some(start),
        remove_error: Some(remove.clone()),
        ..Fake::default()
    };
    let error = now(driver.run_container(&ContainerConfig::new("session", "image"))).unwrap_err();
    assert_eq!(
        (error.code(), error.cleanup()),
        ("CONTAINER_START_FAILED", Some(&remove))
    );
    assert!(
        error
            .report()
            .contains("clean-up failed too: Failed to remove container c1: busy"),
        "{}",
        error.report()
    );
}

#[test]
fn small_conveniences() {
    let driver = Fake::default();
    assert_eq!(now(driver.require_container("c1")).unwrap().id, "c1");
    assert_eq!(
        now(driver.require_container("c2")).unwrap_err(),
        DriverError::container_not_found("c2")
    );
    assert_eq!(now(driver.wait_exit("c1")).unwrap().exit_code, Some(0));
    now(driver.force_remove("c1")).unwrap();
    assert_eq!(driver.calls(), ["wait c1 Exited", FORCED]);
    // They work on a trait object too.
    let object: &dyn ContainerDriver = &driver;
    assert_eq!(now(object.require_container("c1")).unwrap().id, "c1");
}

fn progress(status: &str, image: Option<Image>) -> PullProgress {
    PullProgress {
        status: status.to_owned(),
        layer: None,
        current_bytes: None,
        total_bytes: None,
        image,
    }
}

#[test]
fn a_pull_ends_with_the_image_or_an_error() {
    let image = Image {
        id: "sha256:abc".to_owned(),
        references: vec!["app:1".to_owned()],
        size_bytes: 1,
        created_at: 1,
        labels: Labels::new(),
    };
    let pull = |pull| {
        let driver = Fake {
            pull,
            ..Fake::default()
        };
        now(driver.pull_image_wait(&PullRequest::new("app:1")))
    };
    let complete = progress(PullProgress::COMPLETE, Some(image.clone()));
    assert_eq!(
        pull(vec![Ok(progress("downloading", None)), Ok(complete.clone())]),
        Ok(image)
    );
    let broken = DriverError::image_pull("app:1", "connection reset");
    assert_eq!(pull(vec![Ok(complete), Err(broken.clone())]), Err(broken));
    assert_eq!(pull(vec![]).unwrap_err().code(), "INTERNAL_ERROR");
}

#[rstest]
#[case::text("/srv/data/file", b"hello\n")]
#[case::in_the_root("/file", b"x")]
#[case::empty("/tmp/empty-file", b"")]
#[case::binary("/tmp/b", b"\0\xff\xfe\r\n")]
fn files_come_back_as_they_were_written(#[case] path: &str, #[case] content: &[u8]) {
    let driver = Fake::default();
    now(driver.write_file("c1", path, content, 0o640)).unwrap();
    assert_eq!(driver.files.lock().unwrap()[path], (content.to_vec(), 0o640));
    assert_eq!(now(driver.read_file("c1", path)).unwrap(), content);
}

#[test]
fn a_file_of_many_blocks_and_a_name_of_many_characters() {
    let driver = Fake::default();
    let content: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    // Longer than the 100 bytes that a plain tar header has for it.
    let path = format!("/tmp/{}", "n".repeat(200));
    now(driver.write_file("c1", &path, &content, 0o600)).unwrap();
    assert_eq!(now(driver.read_file("c1", &path)).unwrap(), content);
}

#[rstest]
#[case("relative")]
#[case("./file")]
#[case("/")]
#[case("")]
#[case("/tmp/")]
#[case("/tmp/..")]
#[case("/tmp/.")]
fn only_an_absolute_path_of_a_file_can_be_written(#[case] path: &str) {
    let driver = Fake::default();
    let error = now(driver.write_file("c1", path, b"x", 0o600)).unwrap_err();
    assert_eq!(error.code(), "CONFIGURATION_ERROR");
    assert!(error.to_string().contains(&format!("`{path}`")), "{error}");
    assert!(driver.files.lock().unwrap().is_empty());
}

#[rstest]
#[case::missing("/none", "no such file")]
#[case::directory("/dir", "not a regular file")]
#[case::empty_archive("/empty", "the archive is empty")]
#[case::cut_archive("/cut", "cannot read /cut: the archive is cut off")]
fn what_cannot_be_read_is_a_file_system_error(#[case] path: &str, #[case] told: &str) {
    let driver = Fake::default();
    now(driver.write_file("c1", "/cut", &[7; 1000], 0o600)).unwrap();
    let error = now(driver.read_file("c1", path)).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(error.to_string().contains(told), "{error}");
}

/// What a driver does not override is refused by name, from one place.
#[test]
fn operations_that_a_driver_lacks_are_unsupported() {
    let driver = Fake::default();
    let spec = ExecSpec::new(["true"]);
    let empty = || -> ByteStream { stream::empty().boxed() };
    let refusals: Vec<(Operation, Option<DriverError>)> = vec![
        (
            Operation::SignalContainer,
            now(driver.signal_container("c1", Signal::HUP)).err(),
        ),
        (Operation::PauseContainer, now(driver.pause_container("c1")).err()),
        (
            Operation::ResumeContainer,
            now(driver.resume_container("c1")).err(),
        ),
        (Operation::Exec, now(driver.exec("c1", &spec)).err()),
        (Operation::ExecStream, now(driver.exec_stream("c1", &spec)).err()),
        (Operation::Attach, now(driver.attach("c1")).err()),
        (
            Operation::StreamLogs,
            now(driver.stream_logs("c1", &LogOptions::default())).err(),
        ),
        (Operation::ContainerStats, now(driver.container_stats("c1")).err()),
        (Operation::StreamStats, now(driver.stream_stats("c1", 100)).err()),
        (
            Operation::Events,
            now(driver.events(&EventFilter::default())).err(),
        ),
        (Operation::ListVolumes, now(driver.list_volumes()).err()),
        (Operation::GetVolume, now(driver.get_volume("v")).err()),
        (Operation::ListNetworks, now(driver.list_networks()).err()),
        (Operation::GetNetwork, now(driver.get_network("n")).err()),
        (
            Operation::ImportImage,
            now(driver.import_image(&ImportOptions::new("i"), empty())).err(),
        ),
        (Operation::ListImages, now(driver.list_images()).err()),
        (Operation::GetImage, now(driver.get_image("i")).err()),
        (Operation::RemoveImage, now(driver.remove_image("i")).err()),
        (
            Operation::UpdateResources,
            now(driver.update_resources("c1", &ResourceLimits::default())).err(),
        ),
        (
            Operation::SnapshotContainer,
            now(driver.snapshot_container("c1", "i")).err(),
        ),
        (Operation::Preflight, now(driver.preflight()).err()),
        (
            Operation::Plan,
            now(driver.plan(&ContainerConfig::new("s", "i"))).err(),
        ),
        (Operation::Recover, now(driver.recover()).err()),
        (Operation::Reap, now(driver.reap(&ReapPolicy::default())).err()),
        (
            Operation::Shutdown,
            now(driver.shutdown(ShutdownMode::Leave)).err(),
        ),
    ];
    for (operation, error) in &refusals {
        assert_eq!(
            error.as_ref(),
            Some(&DriverError::unsupported(operation.name(), "fake"))
        );
    }
    // These four, which the fake overrides, and the required ones make the table complete.
    let overridden = [
        Operation::WaitContainer,
        Operation::PullImage,
        Operation::CopyInto,
        Operation::CopyFrom,
    ];
    let required = Operation::ALL
        .iter()
        .filter(|operation| operation.info().capability.is_none())
        .count();
    assert_eq!(refusals.len() + overridden.len() + required, Operation::ALL.len());
}
