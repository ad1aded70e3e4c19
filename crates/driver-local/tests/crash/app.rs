//! The application that is killed: this same program, doing one script on a state directory. It writes what it begins and what
//! is done to its stdout, one write a line, so that whoever killed it knows how far it got.

use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    ContainerDriver, ContainerDriverExt, ExecSpec, ExitInfo, ImportOptions, LogOptions, NetworkConfig,
    PortMapping, PullRequest, RemoveOptions, ResourceLimits, Result, StopOptions, VolumeConfig, VolumeMount,
    WaitCondition,
};
use futures_util::TryStreamExt;

use crate::ending::differs;
use crate::oci::Oci;
use crate::workload::{Around, GRACE_MS, LOG_FILE_BYTES, LOG_FILES, Workload, image, stream_of};

/// What the application can be told to do; each is one run of it.
pub(crate) const SCRIPTS: &[&str] = &[
    "stop",
    "exit",
    "freeze",
    "bare",
    "terminal",
    "network",
    "import",
    "load",
    #[cfg(feature = "pull")]
    "pull",
];

/// The variable with the address of the registry to pull from.
pub(crate) const REGISTRY: &str = "DRIVER_CRASH_REGISTRY";

/// What the scripts make beside containers.
pub(crate) const OTHER_IMAGE: &str = "crash/other:1";
pub(crate) const SNAPSHOT: &str = "crash/snapshot:1";

/// A driver, and how far it is.
pub(crate) struct Session {
    pub(crate) driver: LocalDriver,
}

/// Opens the driver of a state directory.
pub(crate) fn open(state: &Path) -> Result<LocalDriver> {
    LocalDriver::open(LocalOptions {
        state_dir: state.to_owned(),
        log_file_bytes: LOG_FILE_BYTES,
        log_files: LOG_FILES,
        ..LocalOptions::default()
    })
}

/// The application's main function: waits for a byte on stdin, so that a tracer can get hold of it first.
pub(crate) fn main(script: &str, state: &Path, seed: u64) {
    let _ = std::io::stdin().read(&mut [0]);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return tell("failed", "open", "-", &error.to_string()),
    };
    runtime.block_on(async {
        match open(state) {
            Err(error) => tell("failed", "open", "-", &error.to_string()),
            Ok(driver) => play(&Session { driver }, script, seed).await,
        }
    });
    tell("done", "all", "-", "");
}

async fn play(session: &Session, script: &str, seed: u64) {
    match script {
        "stop" => stop(session).await,
        "exit" => exit(session).await,
        "freeze" => freeze(session).await,
        "bare" => around(session, Around::Nothing).await,
        "terminal" => around(session, Around::Terminal).await,
        "network" => network(session).await,
        "import" => import(session).await,
        "load" => load(session).await,
        "pull" => pull(session).await,
        "work" => crate::load::work(session, seed).await,
        other => tell("failed", "script", other, "there is none of this name"),
    }
}

/// A line of the protocol: what, of which step, on which object, and more.
fn tell(what: &str, step: &str, name: &str, more: &str) {
    let line = format!("{what} {step} {name} {}\n", more.replace('\n', " "));
    // Whoever listens may be gone.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Something that no crash explains.
pub(crate) fn wrong(name: &str, what: &str) {
    tell("wrong", "-", name, what);
}

impl Session {
    /// Does one step and tells of it. A step that fails does not end the script: a shim may have been killed.
    pub(crate) async fn step<T>(
        &self,
        step: &str,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Option<T> {
        tell("begin", step, name, "");
        match work.await {
            Ok(value) => {
                tell("done", step, name, "");
                Some(value)
            }
            Err(error) => {
                tell("failed", step, name, &format!("{}: {error}", error.code()));
                None
            }
        }
    }

    pub(crate) async fn create(&self, config: &driver_types::ContainerConfig) -> Option<String> {
        let name = config.name.as_deref().unwrap_or_default();
        let made = self
            .step("create", name, self.driver.create_container(config))
            .await?;
        tell("id", "create", name, &made.id);
        Some(made.id)
    }

    pub(crate) async fn start(&self, name: &str, id: &str) -> Option<()> {
        self.step("start", name, self.driver.start_container(id)).await
    }

    /// Until the workload has written its last line, or was killed.
    pub(crate) async fn ready(&self, workload: Workload, name: &str, id: &str) -> Option<()> {
        self.step("ready", name, until_ready(&self.driver, workload, id))
            .await
    }

    /// Start, and until it is ready.
    async fn begin(&self, workload: Workload, name: &str, id: &str) -> Option<()> {
        self.start(name, id).await?;
        self.ready(workload, name, id).await
    }

    /// A container from its creation to its removal, with an exec and a stop. `None` where it could not be made.
    async fn live(&self, workload: Workload, config: &driver_types::ContainerConfig) -> Option<()> {
        let name = config.name.as_deref().unwrap_or_default();
        let id = self.create(config).await?;
        if self.begin(workload, name, &id).await.is_some() {
            self.exec(name, &id, 5).await;
            if self.stop(name, &id).await.is_some() {
                self.ended(workload, name, &id).await;
            }
        }
        self.remove(name, &id).await;
        Some(())
    }

    pub(crate) async fn wait(&self, name: &str, id: &str) -> Option<ExitInfo> {
        self.step(
            "wait",
            name,
            self.driver.wait_container(id, WaitCondition::Exited),
        )
        .await
    }

    async fn remove_image(&self, reference: &str) -> Option<()> {
        self.step("remove-image", reference, self.driver.remove_image(reference))
            .await
    }

    pub(crate) async fn stop(&self, name: &str, id: &str) -> Option<()> {
        let grace = StopOptions::timeout(GRACE_MS);
        self.step("stop", name, self.driver.stop_container(id, &grace))
            .await
    }

    pub(crate) async fn remove(&self, name: &str, id: &str) -> Option<()> {
        let options = RemoveOptions::default();
        self.step("remove", name, self.driver.remove_container(id, &options))
            .await
    }

    pub(crate) async fn force(&self, name: &str, id: &str) -> Option<()> {
        self.step(
            "force",
            name,
            self.driver.remove_container(id, &RemoveOptions::force()),
        )
        .await
    }

    /// An exec must give the code of its process, unless it fails, or its shim was killed, which the judge knows.
    pub(crate) async fn exec(&self, name: &str, id: &str, code: i32) {
        let spec = ExecSpec::new(["/bin/sh", "-c", &format!("echo in; exit {code}")]);
        match self.step("exec", name, self.driver.exec(id, &spec)).await {
            Some(result) if result.exit_code == 137 => tell("killed", "exec", name, ""),
            Some(result) if result.exit_code != code || result.stdout.to_text() != "in\n" => {
                wrong(name, &format!("the exec gave {result:?}"));
            }
            _ => {}
        }
    }

    /// A container that has ended by itself, or was stopped, has the exit and the log of its workload, whoever was killed
    /// meanwhile.
    pub(crate) async fn ended(&self, workload: Workload, name: &str, id: &str) {
        let found = self.step("get", name, self.driver.get_container(id)).await;
        let exit = found.flatten().and_then(|found| found.exit);
        // The judge knows whether its shim was killed.
        let may_be_cut = workload.around == Around::Nothing;
        // Without root an init tells its shim alone.
        if exit.is_none() && (may_be_cut || !crate::is_root()) {
            return tell("cut", "get", name, "");
        }
        if exit.as_ref().and_then(|exit| exit.exit_code) != Some(workload.code.into()) {
            wrong(name, &format!("its exit is {exit:?}"));
        }
        let all = LogOptions::default();
        let log = self
            .step("logs", name, self.driver.get_container_logs(id, &all))
            .await;
        match log.and_then(|log| differs(&log, &workload.output()).map(|what| (log, what))) {
            Some((log, _)) if may_be_cut && log == workload.first() => tell("cut", "logs", name, ""),
            Some((_, what)) => wrong(name, &what),
            None => {}
        }
    }
}

/// Follows the log up to the last numbered line, or the end of the run.
pub(crate) async fn until_ready(driver: &LocalDriver, workload: Workload, id: &str) -> Result<()> {
    let mut frames = driver.stream_logs(id, &LogOptions::follow()).await?;
    let mut text = String::new();
    let last = workload.line(workload.lines);
    while let Some(frame) = frames.try_next().await? {
        text += &frame.data.to_text();
        if text == last || text.ends_with(&format!("\n{last}")) {
            break;
        }
    }
    Ok(())
}

/// Create with everything, start, exec, stop with grace, remove.
async fn stop(session: &Session) {
    let driver = &session.driver;
    let workload = Workload::waits(200, 7);
    let name = workload.name("stop");
    let volume = VolumeConfig::new("crash-volume");
    session
        .step("create-volume", "crash-volume", driver.create_volume(&volume))
        .await;
    let config = workload
        .config(&name)
        .volume(VolumeMount::new("crash-volume", "/data"))
        .network(driver_types::ContainerConfig::NETWORK_DEFAULT)
        .port(PortMapping::tcp(80));
    if session.live(workload, &config).await.is_none() {
        return;
    }
    session
        .step(
            "remove-volume",
            "crash-volume",
            driver.remove_volume("crash-volume"),
        )
        .await;
}

/// Containers that end by themselves, without and with an exit code.
async fn exit(session: &Session) {
    for (code, serial) in [(0, "a"), (9, "b")] {
        let workload = Workload::ends(2000, code);
        let name = workload.name(serial);
        let Some(id) = session.create(&workload.config(&name)).await else {
            return;
        };
        if session.start(&name, &id).await.is_some() && session.wait(&name, &id).await.is_some() {
            session.ended(workload, &name, &id).await;
        }
        session.remove(&name, &id).await;
    }
}

/// A container without an init, whose exit and last output only its shim takes, or one on a terminal.
async fn around(session: &Session, around: Around) {
    let workload = Workload::waits(50, 6).with(around);
    let name = workload.name("around");
    session.live(workload, &workload.config(&name)).await;
}

/// What freezes: pause, resume, a snapshot; new limits; and a removal by force.
async fn freeze(session: &Session) {
    let driver = &session.driver;
    let workload = Workload::waits(20, 3);
    let name = workload.name("freeze");
    let Some(id) = session.create(&workload.config(&name)).await else {
        return;
    };
    session.begin(workload, &name, &id).await;
    session
        .step("snapshot", &name, driver.snapshot_container(&id, SNAPSHOT))
        .await;
    session.step("pause", &name, driver.pause_container(&id)).await;
    session.step("resume", &name, driver.resume_container(&id)).await;
    let limits = ResourceLimits {
        memory: 48,
        disk: 16,
        ..ResourceLimits::default()
    };
    session
        .step("update", &name, driver.update_resources(&id, &limits))
        .await;
    session.force(&name, &id).await;
    session.remove_image(SNAPSHOT).await;
}

/// A network of its own, and a member that is removed while it runs.
async fn network(session: &Session) {
    let driver = &session.driver;
    let network = NetworkConfig::new("crash-network");
    session
        .step("create-network", "crash-network", driver.create_network(&network))
        .await;
    let workload = Workload::waits(5, 4);
    let name = workload.name("network");
    let config = workload.config(&name).network("crash-network");
    if let Some(id) = session.create(&config).await {
        session.begin(workload, &name, &id).await;
        session.force(&name, &id).await;
    }
    session
        .step(
            "remove-network",
            "crash-network",
            driver.remove_network("crash-network"),
        )
        .await;
}

/// An import and its removal.
async fn import(session: &Session) {
    let driver = &session.driver;
    let Some(tar) = image() else { return };
    let options = ImportOptions::new(OTHER_IMAGE);
    let import = driver.import_image(&options, stream_of(tar));
    session.step("import", OTHER_IMAGE, import).await;
    session.remove_image(OTHER_IMAGE).await;
}

/// An archive of an image, and its removal.
async fn load(session: &Session) {
    let Some(tar) = image() else { return };
    let archive = Oci::new(&tar).archive();
    let load = session.driver.load_images(stream_of(archive));
    for image in session.step("load", "-", load).await.unwrap_or_default() {
        session.remove_image(&image.id).await;
    }
}

/// A pull from the registry of the tests, and the removal of what came.
async fn pull(session: &Session) {
    let reference = Oci::reference(&std::env::var(REGISTRY).unwrap_or_default());
    let request = PullRequest::new(&reference);
    let pull = session.driver.pull_image_wait(&request);
    session.step("pull", &reference, pull).await;
    session.remove_image(&reference).await;
}
