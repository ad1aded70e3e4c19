//! Files and logs of real containers, where the conformance suite does not look: what no engine but this one does, or does in
//! the same way. Skipped where there are no rights or no static busybox.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    ByteStream, Capability, CheckStatus, ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec,
    ImportOptions, LogFrame, LogOptions, ProcessFrame, SecurityOptions, ShutdownMode, Signal, WaitCondition,
};
use futures_util::{StreamExt, TryStreamExt, stream};

const IMAGE: &str = "test/busybox:1";

/// A driver with an image of busybox.
struct Fixture {
    driver: LocalDriver,
    state: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Option<Self> {
        let Some(busybox) = static_busybox() else {
            println!("skipped: no static busybox in /bin");
            return None;
        };
        let state = tempfile::tempdir().unwrap();
        // Users of containers go through it.
        std::fs::set_permissions(state.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let options = LocalOptions::default().state_dir(state.path().join("state"));
        let driver = LocalDriver::open(options).unwrap();
        let checks = driver.preflight().await.unwrap().checks;
        if let Some(failed) = checks.iter().find(|check| check.status == CheckStatus::Fail) {
            println!("skipped: {}", failed.message);
            return None;
        }
        let image = ImportOptions::new(IMAGE);
        driver.import_image(&image, root_tar(busybox)).await.unwrap();
        Some(Self { driver, state })
    }

    async fn create(&self, script: &str) -> String {
        let mut security = SecurityOptions::default().read_only(false);
        // Without root there may be one user only, whose the files are.
        if self
            .driver
            .capabilities()
            .await
            .unwrap()
            .supports(Capability::User)
        {
            security = security.user("0");
        }
        let config = ContainerConfig::new("session", IMAGE)
            .command(["/bin/sh", "-c", script])
            .security(security);
        self.driver.create_container(&config).await.unwrap().id
    }

    /// How much is left of what was removed.
    fn in_trash(&self) -> usize {
        let trash = self.state.path().join("state/trash");
        std::fs::read_dir(trash).unwrap().count()
    }

    async fn remove(&self, id: &str) {
        self.driver.force_remove(id).await.unwrap();
    }
}

fn static_busybox() -> Option<Bytes> {
    let program = std::fs::read(Path::new("/bin/busybox")).ok()?;
    let headers = &program[..program.len().min(4096)];
    // A dynamic program names its interpreter.
    let is_static = !headers.windows(8).any(|bytes| bytes == b"ld-linux");
    is_static.then(|| program.into())
}

fn root_tar(busybox: Bytes) -> ByteStream {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    for directory in ["bin/", "data/"] {
        tar.append_data(&mut header.clone(), directory, &[][..]).unwrap();
    }
    let mut open = header.clone();
    open.set_mode(0o1777);
    tar.append_data(&mut open, "open/", &[][..]).unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", busybox.as_ref())
        .unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    for name in ["sh", "sleep", "cat", "echo", "mkdir"] {
        tar.append_link(&mut header.clone(), format!("bin/{name}"), "busybox")
            .unwrap();
    }
    let tar = Bytes::from(tar.into_inner().unwrap());
    Box::pin(stream::iter([Ok(tar)]))
}

async fn names(stream: ByteStream) -> BTreeSet<String> {
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    let tar = pieces.concat();
    let mut archive = tar::Archive::new(tar.as_slice());
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
        .collect()
}

fn text(frames: &[LogFrame]) -> String {
    frames.iter().map(|frame| frame.data.to_text()).collect()
}

/// The file systems of the kernel are there as directories, and have no end if one goes into them.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_root_of_a_running_container_has_an_end() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let driver = &fixture.driver;
    let id = fixture.create("echo inside > /data/file; sleep 1000").await;
    let created = names(driver.copy_from(&id, "/").await.unwrap()).await;
    driver.start_container(&id).await.unwrap();
    while driver.read_file(&id, "/data/file").await.is_err() {}
    let running = names(driver.copy_from(&id, "/").await.unwrap()).await;
    for names in [&created, &running] {
        assert!(
            names.contains("bin/busybox") && names.contains("proc/"),
            "{names:?}"
        );
        assert!(
            !names
                .iter()
                .any(|name| name.starts_with("proc/") && name != "proc/")
        );
        assert!(
            !names
                .iter()
                .any(|name| name.starts_with("sys/") && name != "sys/")
        );
    }
    assert!(running.contains("data/file") && !created.contains("data/file"));
    for path in ["/proc/1/environ", "/proc", "/sys"] {
        let error = driver.copy_from(&id, path).await.map(drop).unwrap_err();
        assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    }
    fixture.remove(&id).await;
}

/// A follow and a handle end with the run in which they began, though the next one begins before they look.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_ends_with_its_run() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let driver = &fixture.driver;
    let id = fixture.create("echo run; exec sleep 1000").await;
    let mut follows = vec![driver.stream_logs(&id, &LogOptions::follow()).await.unwrap()];
    for _ in 0..3 {
        driver.start_container(&id).await.unwrap();
        follows.push(driver.stream_logs(&id, &LogOptions::follow()).await.unwrap());
        let mut handle = driver.attach(&id).await.unwrap();
        driver.signal_container(&id, Signal::KILL).await.unwrap();
        driver.wait_container(&id, WaitCondition::Exited).await.unwrap();
        driver.start_container(&id).await.unwrap();
        let mut last = None;
        while let Some(frame) = handle.next_frame().await {
            last = Some(frame.unwrap());
        }
        assert!(matches!(last, Some(ProcessFrame::Exit(exit)) if exit.exit_code == 137));
        driver
            .stop_container(&id, &driver_types::StopOptions::force())
            .await
            .unwrap();
    }
    driver.start_container(&id).await.unwrap();
    for follow in follows {
        let frames: Vec<LogFrame> = follow.try_collect().await.unwrap();
        assert!(text(&frames).starts_with("run\n"), "{}", text(&frames));
    }
    fixture.remove(&id).await;
}

/// A time in the future ends a follow of a container that runs on and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_ends_at_its_time() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let driver = &fixture.driver;
    let id = fixture.create("echo first; exec sleep 1000").await;
    driver.start_container(&id).await.unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let options = LogOptions {
        until: Some(now.as_millis() as u64 + 300),
        ..LogOptions::follow()
    };
    let follow = driver.stream_logs(&id, &options).await.unwrap();
    let _frames: Vec<LogFrame> = follow.map(|frame| frame.unwrap()).collect().await;
    fixture.remove(&id).await;
}

/// Also without root, where files of the container's users are not the driver's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_closed_to_all_others_is_removed_with_the_container() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let script = "mkdir -m 700 /open/a /open/a/b && echo x > /open/a/b/file";
    let config = ContainerConfig::new("session", IMAGE)
        .command(["/bin/sh", "-c", script])
        .security(SecurityOptions::default().read_only(false));
    let driver = &fixture.driver;
    let id = driver.create_container(&config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    let exit = driver.wait_container(&id, WaitCondition::Exited).await.unwrap();
    assert_eq!(exit.exit_code, Some(0), "{exit:?}");
    fixture.remove(&id).await;
    // It empties the trash, and fails where it cannot.
    driver.recover().await.unwrap();
    assert_eq!(fixture.in_trash(), 0);
}

/// A program that ends after `shutdown` leaves nothing of what it removed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_gone_after_shutdown() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let id = fixture.create("true").await;
    fixture.remove(&id).await;
    fixture.driver.shutdown(ShutdownMode::Leave).await.unwrap();
    assert_eq!(fixture.in_trash(), 0);
}

/// Where all processes have one id, an exec as another user would run as the same.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_refused_where_there_is_one_id() {
    let Some(fixture) = Fixture::new().await else {
        return;
    };
    let driver = &fixture.driver;
    if driver.capabilities().await.unwrap().supports(Capability::User) {
        println!("skipped: containers have many ids here");
        return;
    }
    let id = fixture.create("sleep 1000").await;
    driver.start_container(&id).await.unwrap();
    let spec = |user| ExecSpec::new(["/bin/echo", "hello"]).user(user);
    let error = driver.exec(&id, &spec("0")).await.unwrap_err();
    assert_eq!(error.violation_list()[0].pointer, "/user", "{error}");
    let own = driver.exec(&id, &spec("1000:1000")).await.unwrap();
    assert_eq!(own.exit_code, 0, "{own:?}");
    fixture.remove(&id).await;
}
