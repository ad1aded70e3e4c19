//! What a case works with: its own driver, unique names, and the steps that most cases share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use driver_types::{
    Capabilities, Capability, ContainerConfig, ContainerDriver, ContainerInstance, ContainerStatus,
    Deadlines, ExecResult, ExecSpec, ExitInfo, LogOptions, PullPolicy, WaitCondition,
};

use crate::case::{CaseError, CaseResult, Failure};
use crate::expect;
use crate::factory::{DriverFactory, OpenOptions, SuppliedImage};
use crate::lines::Lines;
use crate::tracked::{Inventory, Tracked};

/// How long a case waits for a condition that must come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// A handle; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setting: Setting,
    token: String,
    inventory: Arc<Inventory>,
    driver: Arc<dyn ContainerDriver>,
}

/// What all cases of a driver share.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) factory: Arc<dyn DriverFactory>,
    pub(crate) capabilities: Capabilities,
    pub(crate) image: SuppliedImage,
    /// Whether the image is the factory's, not the suite's.
    pub(crate) image_is_supplied: bool,
}

/// What a run to its end gave.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The container after its end.
    pub(crate) container: ContainerInstance,
    /// How it ended.
    pub(crate) exit: ExitInfo,
    /// Its log, stdout and stderr.
    pub(crate) output: Lines,
}

impl Context {
    /// Opens a driver for a case. The token is unique to the case.
    pub(crate) async fn open(
        setting: Setting,
        token: String,
        inventory: Arc<Inventory>,
    ) -> Result<Self, CaseError> {
        let driver = open(&setting.factory, &inventory, OpenOptions::new(&token)).await?;
        Ok(Self(Arc::new(Inner {
            setting,
            token,
            inventory,
            driver,
        })))
    }

    /// The driver under test, opened for an owner of this case alone.
    pub(crate) fn driver(&self) -> &dyn ContainerDriver {
        self.0.driver.as_ref()
    }

    /// The same driver, for another task.
    pub(crate) fn shared_driver(&self) -> Arc<dyn ContainerDriver> {
        self.0.driver.clone()
    }

    /// The factory, for its hooks.
    pub(crate) fn factory(&self) -> &dyn DriverFactory {
        self.0.setting.factory.as_ref()
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.0.setting.capabilities
    }

    pub(crate) fn supports(&self, capability: Capability) -> bool {
        self.0.setting.capabilities.supports(capability)
    }

    /// Opens a second driver for the same owner, as a restarted application does.
    pub(crate) async fn open_again(&self) -> Result<Arc<dyn ContainerDriver>, CaseError> {
        open(
            &self.0.setting.factory,
            &self.0.inventory,
            OpenOptions::new(&self.0.token),
        )
        .await
    }

    /// Opens a driver for the same owner with other deadlines.
    pub(crate) async fn open_with(
        &self,
        deadlines: Deadlines,
    ) -> Result<Arc<dyn ContainerDriver>, CaseError> {
        let options = OpenOptions {
            owner: self.0.token.clone(),
            deadlines,
        };
        open(&self.0.setting.factory, &self.0.inventory, options).await
    }

    /// Opens a driver for another owner, unique to this case as well.
    pub(crate) async fn open_other_owner(&self, suffix: &str) -> Result<Arc<dyn ContainerDriver>, CaseError> {
        open(
            &self.0.setting.factory,
            &self.0.inventory,
            OpenOptions::new(self.name(suffix)),
        )
        .await
    }

    /// The owner of this case's driver.
    pub(crate) fn owner(&self) -> &str {
        &self.0.token
    }

    /// The session of [`config`](Self::config).
    pub(crate) fn session(&self) -> &str {
        &self.0.token
    }

    /// A name that no other case uses, for containers, volumes, networks and sessions.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.0.token)
    }

    /// An image reference that no other case uses. Images with such a reference are looked for by the leak ledger.
    pub(crate) fn image_name(&self, suffix: &str) -> String {
        format!("conformance/{}-{suffix}:latest", self.0.token)
    }

    /// The image with the workload program.
    pub(crate) fn image(&self) -> &str {
        &self.0.setting.image.reference
    }

    /// Whether the factory supplied the image: then it has no defaults and none of the suite's files.
    pub(crate) fn image_is_supplied(&self) -> bool {
        self.0.setting.image_is_supplied
    }

    /// The path of the workload program inside.
    pub(crate) fn program(&self) -> &str {
        &self.0.setting.image.program
    }

    /// An argv of the workload program.
    pub(crate) fn argv<S: AsRef<str>>(&self, commands: impl IntoIterator<Item = S>) -> Vec<String> {
        let commands = commands.into_iter().map(|part| part.as_ref().to_owned());
        std::iter::once(self.program().to_owned())
            .chain(commands)
            .collect()
    }

    /// A config that runs the workload program with these commands and defaults otherwise.
    pub(crate) fn config<S: AsRef<str>>(&self, commands: impl IntoIterator<Item = S>) -> ContainerConfig {
        let mut argv = self.argv(commands);
        let command = argv.split_off(1);
        ContainerConfig::new(self.session(), self.image())
            .entrypoint(argv)
            .command(command)
            .pull_policy(PullPolicy::Never)
    }

    /// A process that runs the workload program with these commands.
    pub(crate) fn exec_spec<S: AsRef<str>>(&self, commands: impl IntoIterator<Item = S>) -> ExecSpec {
        ExecSpec::new(self.argv(commands))
    }

    /// Creates a container.
    pub(crate) async fn create(&self, config: &ContainerConfig) -> Result<ContainerInstance, CaseError> {
        Ok(self.driver().create_container(config).await?)
    }

    /// Creates and starts a container; does not wait for anything that the process does.
    pub(crate) async fn run(&self, config: &ContainerConfig) -> Result<ContainerInstance, CaseError> {
        let container = self.create(config).await?;
        self.driver().start_container(&container.id).await?;
        self.get(&container.id).await
    }

    /// Runs these commands, then prints `ready` and sleeps for ever; returns when `ready` is in the log.
    pub(crate) async fn ready<S: AsRef<str>>(
        &self,
        commands: impl IntoIterator<Item = S>,
    ) -> Result<ContainerInstance, CaseError> {
        self.ready_with(self.config(commands)).await
    }

    /// Like [`ready`](Self::ready), with a config whose command gets `ready` and `forever` appended.
    pub(crate) async fn ready_with(
        &self,
        mut config: ContainerConfig,
    ) -> Result<ContainerInstance, CaseError> {
        let command = config.command.get_or_insert_default();
        if !command.is_empty() {
            command.push(",".to_owned());
        }
        command.extend(["out", "ready", ",", "forever"].map(str::to_owned));
        let container = self.run(&config).await?;
        self.await_line(&container.id, "ready").await?;
        Ok(container)
    }

    /// Runs a container to its end.
    pub(crate) async fn finish(&self, config: &ContainerConfig) -> Result<Finished, CaseError> {
        let container = self.create(config).await?;
        self.driver().start_container(&container.id).await?;
        let exit = self.wait_exit(&container.id).await?;
        let output = self.lines(&container.id).await?;
        Ok(Finished {
            container: self.get(&container.id).await?,
            exit,
            output,
        })
    }

    /// Runs commands to their end with the default config and returns what they printed.
    pub(crate) async fn output<S: AsRef<str>>(
        &self,
        commands: impl IntoIterator<Item = S>,
    ) -> Result<Lines, CaseError> {
        Ok(self.finish(&self.config(commands)).await?.output)
    }

    /// Runs commands in a running container to their end. Needs `exec`.
    pub(crate) async fn exec<S: AsRef<str>>(
        &self,
        id: &str,
        commands: impl IntoIterator<Item = S>,
    ) -> Result<ExecResult, CaseError> {
        Ok(self.driver().exec(id, &self.exec_spec(commands)).await?)
    }

    /// Like [`exec`](Self::exec), and returns the lines of stdout; an exit code other than 0 fails the case.
    pub(crate) async fn exec_lines<S: AsRef<str>>(
        &self,
        id: &str,
        commands: impl IntoIterator<Item = S>,
    ) -> Result<Lines, CaseError> {
        let result = self.exec(id, commands).await?;
        expect::equal("exit code of the exec", result.exit_code, 0)?;
        Ok(Lines::new(result.stdout.to_text()))
    }

    /// The container as it is now; that there is none fails the case.
    pub(crate) async fn get(&self, id: &str) -> Result<ContainerInstance, CaseError> {
        expect::some("a container", self.driver().get_container(id).await?)
    }

    /// The whole log as text.
    pub(crate) async fn log(&self, id: &str) -> Result<String, CaseError> {
        Ok(self
            .driver()
            .get_container_logs(id, &LogOptions::default())
            .await?)
    }

    /// The whole log as lines.
    pub(crate) async fn lines(&self, id: &str) -> Result<Lines, CaseError> {
        Ok(Lines::new(self.log(id).await?))
    }

    /// Waits until a line is in the log.
    pub(crate) async fn await_line(&self, id: &str, line: &str) -> CaseResult {
        let what = format!("line {line:?} in the log");
        until(&what, || async {
            Ok(self.lines(id).await?.has(line).then_some(()))
        })
        .await
    }

    /// Waits until a container has this status.
    pub(crate) async fn await_status(
        &self,
        id: &str,
        status: ContainerStatus,
    ) -> Result<ContainerInstance, CaseError> {
        let what = format!("status {status}");
        until(&what, || async {
            let container = self.get(id).await?;
            Ok((container.status == status).then_some(container))
        })
        .await
    }

    /// Waits for the end of a run, by `wait_container` where the driver has it.
    pub(crate) async fn wait_exit(&self, id: &str) -> Result<ExitInfo, CaseError> {
        if self.supports(Capability::Wait) {
            return Ok(self.driver().wait_container(id, WaitCondition::Exited).await?);
        }
        until("the end of the run", || async { Ok(self.get(id).await?.exit) }).await
    }
}

async fn open(
    factory: &Arc<dyn DriverFactory>,
    inventory: &Arc<Inventory>,
    options: OpenOptions,
) -> Result<Arc<dyn ContainerDriver>, CaseError> {
    let owner = options.owner.clone();
    match factory.open(&options).await {
        Ok(driver) => Ok(Arc::new(Tracked::new(driver, owner, inventory.clone()))),
        Err(reason) => Err(Failure::new("a driver that opens", reason.to_string()).into()),
    }
}

/// Asks again and again until there is an answer; none within 30 seconds fails the case.
pub(crate) async fn until<T, F, Fut>(what: &str, mut probe: F) -> Result<T, CaseError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, CaseError>>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = probe().await? {
            return Ok(answer);
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Failure::new(what, format!("not within {} s", PATIENCE.as_secs())).into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
