//! Starting, stopping, pausing and removing.

use std::sync::Arc;
use std::time::Duration;

use driver_state::Applied;
use driver_types::{
    Action, ContainerConfig, ContainerStatus, DriverError, EventKind, ExitInfo, ExitReason, NetworkAddress,
    PublishedPort, RemoveOptions, Result, Signal, StopOptions, TerminalSize, Transition, Violation,
};
use tokio::sync::OwnedMutexGuard;

use super::MockDriver;
use super::launch::{Launch, Prepared, execute, with_home};
use crate::kernel::{Context, Output, Pipe, ProcessSpec, Role, Stdio, Terminal};
use crate::script::Lie;
use crate::world::{Console, Ending, HOST_ADDRESS, Join, Sandbox};

impl MockDriver {
    /// What the state table says; a refusal is forgiven where the driver lies.
    fn check(&self, id: &str, action: Action) -> Result<Transition> {
        match self.world.containers.check(self.scope(), id, action) {
            Err(error) if self.lies(Lie::IgnoreStateTable) && error.code() != "CONTAINER_NOT_FOUND" => {
                Ok(Transition::NoOp)
            }
            checked => checked,
        }
    }

    /// The turn of a call on a container, in the order of arrival.
    pub(super) async fn turn(&self, sandbox: &Sandbox) -> Result<OwnedMutexGuard<()>> {
        let order = Arc::clone(&sandbox.container.order);
        if self.lies(Lie::FailRaces) {
            return match order.try_lock_owned() {
                Ok(turn) => {
                    tokio::task::yield_now().await;
                    Ok(turn)
                }
                Err(_) => Err(DriverError::internal("another call is under way")),
            };
        }
        Ok(order.lock_owned().await)
    }

    pub(super) async fn do_start(&self, id: &str) -> Result<()> {
        let sandbox = self.sandbox(id)?;
        let _turn = self.turn(&sandbox).await?;
        if self.check(id, Action::Start)? == Transition::NoOp {
            return Ok(());
        }
        self.begin_run(&sandbox).map_err(|failure| {
            let error = DriverError::container_start(id, failure.message);
            match failure.exit_code {
                Some(code) => error.with_exit_code(code).permanent(),
                None => error.permanent(),
            }
        })
    }

    /// Begins a run, or changes nothing.
    fn begin_run(&self, sandbox: &Sandbox) -> Result<(), super::launch::LaunchError> {
        let container = &sandbox.container;
        let launch = Launch {
            argv: Arc::clone(&container.argv),
            env: Arc::clone(&container.env),
            path: container.path(),
            cwd: Arc::clone(&container.working_dir),
            user: &container.config.security.user,
        };
        let prepared = self.prepare_main(sandbox, &launch)?;
        let (ports, addresses) = self.connect(sandbox).map_err(|message| {
            self.world.switchboard.leave(&container.id);
            super::launch::LaunchError {
                exit_code: None,
                message,
            }
        })?;
        let specs = self.main_processes(sandbox, &launch, &prepared);
        let now_ms = self.world.clock.now_ms();
        let started = sandbox.with_kernel(|kernel, now| {
            kernel.begin_run(now);
            kernel.interfaces = interfaces(&container.config, &addresses);
            let mut main = 1;
            for spec in specs {
                main = kernel.spawn(now, spec).map_err(|errno| errno.to_string())?;
            }
            kernel.main = main;
            let keep_exit = self.lies(Lie::KeepExitOnRestart);
            let forget_restarts = self.lies(Lie::ForgetRestarts);
            let wrong_port = self.lies(Lie::WrongHostPort);
            let run = self.world.containers.transition(
                driver_state::Scope::All,
                &container.id,
                Action::Start,
                |record| {
                    let before = (record.exit.clone(), *record.restarts);
                    // Two runs never begin in the same millisecond.
                    let begun = record.started_at.map_or(now_ms, |before| now_ms.max(before + 1));
                    record.begin_run(begun);
                    if keep_exit {
                        *record.exit = before.0;
                    }
                    if forget_restarts {
                        *record.restarts = before.1;
                    }
                    let mut ports = ports;
                    if wrong_port {
                        ports.iter_mut().for_each(|port| port.host_port ^= 1);
                    }
                    record.publish(ports);
                    *record.addresses = addresses;
                    *record.health = None;
                },
            );
            run.map_err(|error| error.to_string())?;
            container.output.begin_run();
            Ok((main, kernel.run))
        });
        let (main, run) = started.map_err(|message: String| super::launch::LaunchError {
            exit_code: None,
            message,
        })?;
        sandbox.tell(EventKind::Started);
        container.changed.notify_waiters();
        let context = Context {
            sandbox: sandbox.clone(),
            run,
            pid: main,
        };
        execute(context, &prepared.found.program);
        super::healthcheck::begin(sandbox, run);
        Ok(())
    }

    /// The rows of the process table for a run: the init, where there is one, and the main process.
    fn main_processes(
        &self,
        sandbox: &Sandbox,
        launch: &Launch<'_>,
        prepared: &Prepared,
    ) -> Vec<ProcessSpec> {
        let config = &sandbox.container.config;
        let terminal = config.tty.then(|| {
            Arc::new(Terminal::new(TerminalSize {
                rows: 24,
                columns: 80,
            }))
        });
        let stdin = config.stdin.then(|| Arc::new(Pipe::default()));
        let stdio = Stdio {
            stdin: stdin.clone(),
            output: Output::Main(Arc::clone(&sandbox.container.output)),
            terminal: terminal.clone(),
        };
        *sandbox.container.console() = Console { stdin, terminal };
        let env = with_home(&launch.env, &prepared.user_found);
        let main = |parent| prepared.found.spec(launch, &env, parent, 0, stdio.clone());
        if !config.init {
            return vec![main(0)];
        }
        let init = ProcessSpec {
            parent: 0,
            role: Role::Init,
            argv: Arc::clone(&prepared.init_argv),
            env: Arc::clone(&env),
            cwd: Arc::clone(&launch.cwd),
            privileges: Arc::clone(&prepared.found.privileges),
            stdio: Stdio::null(),
            exec: 0,
            dispositions: Default::default(),
            memory: super::launch::PROCESS_MEMORY,
        };
        vec![init, main(1)]
    }

    /// Gives a container its place in the networks.
    fn connect(&self, sandbox: &Sandbox) -> Result<(Vec<PublishedPort>, Vec<NetworkAddress>), String> {
        let config = &sandbox.container.config;
        let id = &*sandbox.container.id;
        let network = config.network.as_str();
        if matches!(
            network,
            ContainerConfig::NETWORK_NONE | ContainerConfig::NETWORK_HOST
        ) {
            return Ok((Vec::new(), Vec::new()));
        }
        let network_id = self.network_id(network)?;
        let name = sandbox.instance().map(|instance| instance.name.clone());
        let names = name
            .into_iter()
            .chain([id[..12].to_owned(), sandbox.container.hostname.to_string()]);
        let ip = self.world.switchboard.join(Join {
            network: &network_id,
            container: id,
            names: names.collect(),
        })?;
        let ports = self.world.switchboard.publish(id, &config.ports)?;
        let address = NetworkAddress {
            network: network.to_owned(),
            ip: ip.to_string(),
        };
        Ok((ports, vec![address]))
    }

    pub(super) async fn do_stop(&self, id: &str, options: &StopOptions) -> Result<()> {
        driver_validation::validate_stop_options(options)?;
        let sandbox = self.sandbox(id)?;
        let turn = self.turn(&sandbox).await?;
        if self.check(id, Action::Stop)? == Transition::NoOp {
            return Ok(());
        }
        let grace = self.grace(options)?;
        let signal = options
            .signal
            .unwrap_or_else(|| sandbox.container.config.effective_stop_signal());
        let first = if grace.is_zero() { Signal::KILL } else { signal };
        let run = sandbox.with_kernel(|kernel, now| {
            kernel.stopping = Ending::Stop;
            kernel.signal_main(now, first);
            if kernel.frozen && kernel.is_alive() {
                // What is frozen sees the signal only when it goes on.
                kernel.set_frozen(now, false);
            }
            kernel.is_alive().then_some(kernel.run)
        });
        let Some(run) = run else {
            return Ok(());
        };
        if self.lies(Lie::StopWithoutWaiting) {
            return Ok(());
        }
        // A caller that goes away does not leave the stop half-done.
        let stop = finish_stop(sandbox, run, grace, turn);
        tokio::spawn(stop)
            .await
            .map_err(|error| DriverError::container_stop(id, error.to_string()))
    }

    fn grace(&self, options: &StopOptions) -> Result<Duration> {
        let ms = options.effective_timeout();
        if let Some(least) = self
            .world
            .script
            .min_stop_timeout_ms
            .filter(|least| ms != 0 && ms < *least)
        {
            let message = format!("a grace time of {ms} ms is too short");
            let violation =
                Violation::new("/timeout", message).with_hint(format!("use 0, or at least {least}"));
            return Err(DriverError::violations(vec![violation]));
        }
        let ms = if self.lies(Lie::StopAlwaysKills) { 0 } else { ms };
        Ok(Duration::from_millis(ms))
    }

    pub(super) async fn do_remove(&self, id: &str, options: &RemoveOptions) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(_) if options.ignore_missing => return Ok(()),
            Err(error) => return Err(error),
        };
        let _turn = self.turn(&sandbox).await?;
        let force = options.force || self.lies(Lie::RemoveRunning);
        let action = if force {
            Action::RemoveForce
        } else {
            Action::Remove
        };
        match self.world.containers.check(self.scope(), id, action) {
            Ok(_) => {}
            Err(error) if error.code() == "CONTAINER_NOT_FOUND" && options.ignore_missing => return Ok(()),
            Err(error) => return Err(error),
        }
        self.remove_now(&sandbox);
        Ok(())
    }

    /// Kills and removes a container with everything that belongs to it.
    pub(super) fn remove_now(&self, sandbox: &Sandbox) {
        let container = &sandbox.container;
        sandbox.with_kernel(|kernel, now| {
            if kernel.is_alive() {
                kernel.stopping = Ending::Removal;
                let killed = Signal::KILL;
                kernel.exit(now, 1, crate::kernel::End::Signal(killed));
            }
        });
        let all = driver_state::Scope::All;
        let removed = self
            .world
            .containers
            .transition(all, &container.id, Action::RemoveForce, |_| {});
        self.world.volumes.release(&container.id);
        self.world.networks.release(&container.id);
        if self.lies(Lie::RemoveNamedVolumes) {
            for volume in &container.config.volumes {
                let _ = self.world.volumes.remove(all, &volume.source);
            }
        }
        container.output.removed();
        if matches!(removed, Ok(Applied::Removed(_))) {
            sandbox.tell(EventKind::Removed);
        }
        container.changed.notify_waiters();
    }

    pub(super) async fn do_pause(&self, id: &str, frozen: bool) -> Result<()> {
        let sandbox = self.sandbox(id)?;
        let _turn = self.turn(&sandbox).await?;
        let action = if frozen { Action::Pause } else { Action::Resume };
        let refused = |error: DriverError| match self.lies(Lie::IgnoreStateTable) {
            true if error.code() != "CONTAINER_NOT_FOUND" => Ok(false),
            _ => Err(error),
        };
        let changed = sandbox.with_kernel(|kernel, now| {
            let applied = self
                .world
                .containers
                .transition(self.scope(), id, action, |_| {})?;
            let changed = matches!(applied, Applied::Changed(_));
            if changed && !self.lies(Lie::PauseWithoutFreezing) {
                kernel.set_frozen(now, frozen);
            }
            Ok(changed)
        });
        if changed.or_else(refused)? {
            sandbox.tell(if frozen {
                EventKind::Paused
            } else {
                EventKind::Resumed
            });
            sandbox.container.changed.notify_waiters();
        }
        Ok(())
    }

    pub(super) async fn do_signal(&self, id: &str, signal: Signal) -> Result<()> {
        let sandbox = self.sandbox(id)?;
        let _turn = self.turn(&sandbox).await?;
        let status = self.world.containers.require(self.scope(), id)?.status;
        if status != ContainerStatus::Running {
            if self.lies(Lie::IgnoreStateTable) {
                return Ok(());
            }
            return Err(DriverError::invalid_state(id, status, [ContainerStatus::Running]));
        }
        if !self.lies(Lie::DropSignals) {
            sandbox.with_kernel(|kernel, now| kernel.signal_main(now, signal));
        }
        Ok(())
    }
}

/// What a container without an exit tells those who wait for its removal.
pub(super) fn removed_exit(now_ms: u64) -> ExitInfo {
    ExitInfo {
        exit_code: None,
        signal: None,
        reason: ExitReason::Removed,
        finished_at: now_ms,
    }
}

/// Waits for the end of a run, and kills when the grace time is over. Holds the turn meanwhile.
async fn finish_stop(sandbox: Sandbox, run: u64, grace: Duration, turn: OwnedMutexGuard<()>) {
    let ended = async {
        sandbox.container.output.runs.wait_for_end(run).await;
    };
    if sandbox.world.clock.limit(Some(grace), ended).await.is_none() {
        sandbox.with_kernel(|kernel, now| {
            if kernel.run == run && kernel.is_alive() {
                kernel.exit(now, 1, crate::kernel::End::Signal(Signal::KILL));
            }
        });
    }
    drop(turn);
}

fn interfaces(config: &ContainerConfig, addresses: &[NetworkAddress]) -> Vec<(String, String)> {
    if config.network == ContainerConfig::NETWORK_HOST {
        return vec![("eth0".to_owned(), HOST_ADDRESS.to_string())];
    }
    let named = addresses.iter().enumerate();
    named
        .map(|(index, address)| (format!("eth{index}"), address.ip.clone()))
        .collect()
}

impl Sandbox {
    /// Sets the health that a script tells.
    pub(crate) fn set_scripted_health(&self, status: driver_types::HealthStatus) {
        let health = driver_types::ContainerHealth {
            status,
            failing_streak: 0,
            checks: Vec::new(),
        };
        self.set_health(health, Some(status));
    }

    /// Books the health of the container, and tells a change of the verdict.
    pub(crate) fn set_health(
        &self,
        health: driver_types::ContainerHealth,
        change: Option<driver_types::HealthStatus>,
    ) {
        let all = driver_state::Scope::All;
        let booked = self
            .world
            .containers
            .update(all, &self.container.id, |record| *record.health = Some(health));
        if let (Ok(()), Some(status)) = (booked, change) {
            self.tell(EventKind::Health { status });
            self.container.changed.notify_waiters();
        }
    }
}
