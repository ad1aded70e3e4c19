//! Start, stop, remove, pause, resume and signal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use driver_local_shim::{Report, RunCgroups};
use driver_types::{
    Action, ContainerStatus, DriverError, RemoveOptions, Result, Signal, StopOptions, Transition,
};

use crate::container::Container;
use crate::containers::unwritable;
use crate::core::{Core, Turn, blocking, detached};
use crate::journal::Record;
use crate::layout::ContainerDir;
use crate::networks::Networks;
use crate::networks::members::{Membership, is_member};
use crate::prepare::Start;
use crate::shim::{self, ShimProcess};
use crate::time::now_ms;
use crate::{disk, exec_calls, launch, lost, process, trash};

/// Longer than the kernel needs to end a killed process that is not stuck in it.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Starts the main process.
pub(crate) async fn start_container(core: &Arc<Core>, id: &str) -> Result<()> {
    let turn = core.turn(id).await?;
    let core = Arc::clone(core);
    // A caller who goes away must not leave it half done.
    detached(async move {
        if turn.container.check(Action::Start)? == Transition::NoOp {
            return Ok(());
        }
        let _under_way = Start::of(&core);
        start(&core, &turn).await
    })
    .await
}

async fn start(core: &Arc<Core>, turn: &Turn) -> Result<()> {
    let before = &turn.container;
    clean_before(core, before).await?;
    let (id, run) = (before.id(), before.story.next_run);
    let waiting = core.shim.take_prepared();
    let starting = Record::Starting {
        run,
        cgroup: waiting
            .as_ref()
            .and_then(|waiting| core.cgroups.final_name(waiting.cgroups.as_ref()?)),
        at: now_ms(),
    };
    let container = &core.containers.record(before, &starting)?;
    let failed = match launch(core, container, run, waiting).await {
        Ok(shim) => {
            lost::watch(core, id, run, shim);
            return begun(core, id);
        }
        // The shim was killed after it had begun the run.
        Err(_) if lost::is_taken_over(core, id, run).await? => return begun(core, id),
        Err(error) => error,
    };
    let (cleaning, left) = (Arc::clone(core), container.clone());
    // As the shim has left it.
    let look = move || {
        cleaning
            .containers
            .find(left.id())
            .and_then(|now| clean(&cleaning, &now))
    };
    let cleaned = blocking(look).await;
    core.containers
        .record(container, &Record::StartFailed { run, at: now_ms() })?;
    Err(match cleaned {
        Ok(()) => failed,
        Err(error) => failed.with_cleanup(error),
    })
}

/// Takes away what is left of the run before. Once the next one is announced nobody would look for it any more.
async fn clean_before(core: &Arc<Core>, container: &Container) -> Result<()> {
    if !container.story.has_leftovers {
        return Ok(());
    }
    let (core, container) = (Arc::clone(core), container.clone());
    blocking(move || clean(&core, &container)).await
}

/// What follows a start.
fn begun(core: &Arc<Core>, id: &str) -> Result<()> {
    let started = core.containers.find(id)?;
    exec_calls::begin_checks(core, &started);
    leave_at_end(core, &started);
    Ok(())
}

/// Takes away what a run had in the kernel beside the processes of one that has begun. Blocks; can be repeated.
pub(crate) fn clean(core: &Core, container: &Container) -> Result<()> {
    end_forked(container)?;
    leave(core, container)
        .and_then(|()| core.cgroups.remove(container.cgroup()))
        .map_err(|error| stays(container, &error))
}

/// Ends the processes of a run whose shim was killed before it could tell that the run has begun.
fn end_forked(container: &Container) -> Result<()> {
    let Some(init) = &container.story.forked else {
        return Ok(());
    };
    let stays = |reason: &str| {
        let id = container.id();
        DriverError::internal(format!("process {} of container {id} stays: {reason}", init.pid))
    };
    process::signal(init, Signal::KILL).map_err(|error| stays(&error.to_string()))?;
    match process::ends_within(init, GONE_LIMIT) {
        true => Ok(()),
        false => Err(stays("it does not end")),
    }
}

fn stays(container: &Container, error: &io::Error) -> DriverError {
    let id = container.id();
    DriverError::internal(format!("cgroups or network of container {id} stay: {error}"))
}

/// Makes its writable layer and its place in the network ready. Most have nothing to wait for.
async fn make_ready(core: &Core, container: &Container) -> Result<Option<Membership>> {
    if !is_member(&container.spec.config) && disk::is_ready(&container.dir) {
        return Ok(None);
    }
    let (networks, joining) = (core.networks.clone(), container.clone());
    blocking(move || {
        disk::ready(&joining.dir)?;
        networks.join(&joining)
    })
    .await
}

/// Begins a run, and returns its shim: the one that waits for a run, if that takes it.
async fn launch(
    core: &Core,
    container: &Container,
    run: u32,
    mut waiting: Option<ShimProcess>,
) -> Result<ShimProcess> {
    let id = container.id();
    let limits = container.story.limits.unwrap_or(container.spec.config.resources);
    // The namespace lives by this until it has a process.
    let member = make_ready(core, container).await?;
    if let Some(member) = &member {
        let record = Record::Network {
            run,
            address: member.address.clone(),
            ports: member.ports.clone(),
            at: now_ms(),
        };
        core.containers.record(container, &record)?;
    }
    let network = member.as_ref().map(Membership::namespace);
    let task = launch::run_task(core, container, run, network);
    let prepared = waiting.as_mut().and_then(|waiting| waiting.cgroups.take());
    let spawned = core.shim.run(waiting, task).await;
    let mut process = spawned.map_err(|error| shim::lost(&error))?;
    // While the shim makes the root, on another processor if there is one.
    let (cgroups, of) = (core.cgroups.clone(), id.to_owned());
    let made = blocking(move || {
        let taken = cgroups
            .create_of(prepared.as_ref(), &of, &limits)
            .map_err(|error| {
                DriverError::container_start(&of, format!("its cgroups cannot be made: {error}"))
            })?;
        Ok(match taken {
            true => RunCgroups::Taken,
            false => RunCgroups::Made,
        })
    })
    .await?;
    process.go_on(made).await.map_err(|error| shim::lost(&error))?;
    match process.report().await {
        Ok(Report::Started { .. }) => Ok(process),
        Ok(Report::Failed {
            exit_code, message, ..
        }) => {
            let error = DriverError::container_start(id, message).permanent();
            Err(match exit_code {
                Some(code) => error.with_exit_code(code.into()),
                None => error,
            })
        }
        Ok(_) => Err(DriverError::internal("the shim answered another question")),
        Err(error) => Err(shim::lost(&error)),
    }
}

/// Takes a container out of its network. One without a bridge goes with the run.
pub(crate) fn leave(core: &Core, container: &Container) -> io::Result<()> {
    match core.rootless.is_none() && is_member(&container.spec.config) {
        true => Networks::leave(container.dir.path()),
        false => Ok(()),
    }
}

/// Takes a container out of its network when its run has ended by itself. Ends with the driver.
pub(crate) fn leave_at_end(core: &Arc<Core>, container: &Container) {
    if !is_member(&container.spec.config) || core.rootless.is_some() {
        return;
    }
    let Some(number) = container.live().map(|run| run.number) else {
        return;
    };
    let Some(mut changed) = core.containers.watch(container.id()) else {
        return;
    };
    let (core, id) = (Arc::downgrade(core), container.id().to_owned());
    tokio::spawn(async move {
        loop {
            let Some(core) = core.upgrade() else { return };
            match core.containers.get(&id) {
                Ok(Some(now)) if now.live().is_some_and(|run| run.number == number) => {}
                _ => break,
            }
            drop(core);
            if changed.changed().await.is_err() {
                break;
            }
        }
        let Some(core) = core.upgrade() else { return };
        // Its turn: a start that follows has joined anew, or has not begun.
        let Ok(turn) = core.turn(&id).await else { return };
        let again = turn.container.live().is_some();
        let left = blocking(move || match again {
            true => Ok(()),
            false => leave(&core, &turn.container).map_err(|error| unwritable(&error)),
        });
        if let Err(error) = left.await {
            tracing::warn!(container = id, %error, "its place in the network stays for recover");
        }
    });
}

/// Stops the main process, and returns when it is gone.
pub(crate) async fn stop_container(core: &Arc<Core>, id: &str, options: &StopOptions) -> Result<()> {
    driver_validation::validate_stop_options(options)?;
    let (turn, options, core) = (core.turn(id).await?, *options, Arc::clone(core));
    detached(async move {
        if turn.container.check(Action::Stop)? == Transition::NoOp {
            return Ok(());
        }
        let Some(run) = turn.container.live() else {
            return Ok(());
        };
        // Before the process ends, so that nobody sees the end without its reason.
        let stopping = Record::Stopping {
            run: run.number,
            at: now_ms(),
        };
        core.containers.record(&turn.container, &stopping)?;
        let grace = options.effective_timeout();
        if grace > 0 {
            let first = options.signal.unwrap_or_else(|| stop_signal(&turn.container));
            send(&turn.container, first)?;
            // A frozen process cannot handle a signal; its grace time begins when it goes on.
            thaw(&core, &turn.container)?;
            if ended_within(&core, &turn.container, Duration::from_millis(grace)).await? {
                return Ok(());
            }
        }
        kill(&core, &turn.container).await
    })
    .await
}

fn stop_signal(container: &Container) -> Signal {
    let config = container.spec.config.stop_signal;
    config
        .or(container.spec.image.stop_signal)
        .unwrap_or(Signal::TERM)
}

/// Ends the run at once, and returns when all is gone.
async fn kill(core: &Core, container: &Container) -> Result<()> {
    send(container, Signal::KILL)?;
    thaw(core, container)?;
    if ended_within(core, container, GONE_LIMIT).await? {
        return Ok(());
    }
    let message = format!("it did not end within {} s of SIGKILL", GONE_LIMIT.as_secs());
    Err(DriverError::container_stop(container.id(), message))
}

fn send(container: &Container, signal: Signal) -> Result<bool> {
    let Some(run) = container.live() else {
        return Ok(false);
    };
    process::signal(&run.init, signal).map_err(|error| {
        DriverError::container_stop(container.id(), format!("{signal} cannot be sent: {error}"))
    })
}

fn thaw(core: &Core, container: &Container) -> Result<()> {
    let Some(run) = container.live().filter(|run| run.paused) else {
        return Ok(());
    };
    match core.cgroups.thaw(container.cgroup()) {
        Ok(()) => {}
        // It ended meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(container, "thawed", &error)),
    }
    let resumed = Record::Resumed {
        run: run.number,
        at: now_ms(),
    };
    core.containers.record(container, &resumed)?;
    Ok(())
}

fn refused(container: &Container, what: &str, error: &io::Error) -> DriverError {
    DriverError::internal(format!("container {} cannot be {what}: {error}", container.id()))
}

/// Waits for the end of the run, or for the limit.
async fn ended_within(core: &Core, container: &Container, limit: Duration) -> Result<bool> {
    let id = container.id();
    let ended = async {
        loop {
            let changed = core.containers.watch(id);
            match core.containers.get(id)? {
                Some(now) if now.status().is_alive() => {}
                _ => return Ok(()),
            }
            if let Some(mut changed) = changed {
                let _ = changed.changed().await;
            }
        }
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(ended) => ended.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Removes a container, and returns when it is gone.
pub(crate) async fn remove_container(core: &Arc<Core>, id: &str, options: &RemoveOptions) -> Result<()> {
    let turn = match core.turn(id).await {
        Err(error) if options.ignore_missing && error.code() == "CONTAINER_NOT_FOUND" => return Ok(()),
        turn => turn?,
    };
    let action = if options.force {
        Action::RemoveForce
    } else {
        Action::Remove
    };
    turn.container.check(action)?;
    let core = Arc::clone(core);
    match turn.container.live() {
        Some(_) => detached(async move { remove(&core, turn).await }).await,
        // This too goes on when its caller goes away.
        None => blocking(move || erase(&core, &turn)).await,
    }
}

/// Removes a container of any owner whose turn it is.
pub(crate) async fn remove(core: &Arc<Core>, turn: Turn) -> Result<()> {
    let container = &turn.container;
    if let Some(run) = container.live() {
        let killing = Record::Killing {
            run: run.number,
            at: now_ms(),
        };
        core.containers.record(container, &killing)?;
        kill(core, container).await.map_err(|error| {
            DriverError::container_remove(container.id(), "its processes do not end").with_source(error)
        })?;
    }
    let core = Arc::clone(core);
    blocking(move || erase(&core, &turn)).await
}

/// Removes a container that does not run. Blocks.
fn erase(core: &Core, turn: &Turn) -> Result<()> {
    let container = &turn.container;
    let now = core
        .containers
        .record(container, &Record::Removing { at: now_ms() })?;
    finish_removal(core, &now)
}

/// Removes what is left of a container without processes. Blocks; can be repeated.
pub(crate) fn finish_removal(core: &Core, container: &Container) -> Result<()> {
    let id = container.id();
    let cleaned = match container.story.has_leftovers {
        true => clean(core, container),
        false => leave(core, container).map_err(|error| stays(container, &error)),
    };
    cleaned.map_err(|error| {
        DriverError::container_remove(id, "what it had in the kernel stays").with_source(error)
    })?;
    core.health.forget(id);
    core.shim.forget_ended();
    let spec = &container.spec;
    let names = crate::names::Names::new(&core.layout, &spec.owner);
    discard(core, &container.dir).map_err(|error| unwritable(&error))?;
    names.release(Some(&spec.name), spec.config.request_id.as_deref(), id);
    // Tells those who listen.
    core.containers.look(id)?;
    Ok(())
}

/// Lets a container's directory vanish at once; its content goes in the background.
pub(crate) fn discard(core: &Core, dir: &ContainerDir) -> io::Result<()> {
    disk::end(&dir.disk(), &core.shim)?;
    match trash::put(&core.layout, dir.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        put => put,
    }
}

/// Freezes all processes.
pub(crate) async fn pause_container(core: &Arc<Core>, id: &str) -> Result<()> {
    let (turn, core) = (core.turn(id).await?, Arc::clone(core));
    detached(async move {
        let container = &turn.container;
        if container.check(Action::Pause)? == Transition::NoOp {
            return Ok(());
        }
        let run = container.running()?.number;
        if let Err(error) = core.cgroups.freeze(container.cgroup()) {
            // It may have ended meanwhile.
            core.containers.find(container.id())?.check(Action::Pause)?;
            return Err(refused(container, "frozen", &error));
        }
        core.containers
            .record(container, &Record::Paused { run, at: now_ms() })?;
        Ok(())
    })
    .await
}

/// Lets frozen processes go on.
pub(crate) async fn resume_container(core: &Arc<Core>, id: &str) -> Result<()> {
    let (turn, core) = (core.turn(id).await?, Arc::clone(core));
    detached(async move {
        match turn.container.check(Action::Resume)? {
            Transition::NoOp => Ok(()),
            _ => thaw(&core, &turn.container),
        }
    })
    .await
}

/// Sends a signal to the main process. It changes no status by itself, so it does not wait for its turn: the signal
/// that ends a long stop must come through.
pub(crate) fn signal_container(core: &Core, id: &str, signal: Signal) -> Result<()> {
    let container = core.containers.find(id)?;
    container.running()?;
    if send(&container, signal)? {
        return Ok(());
    }
    // It has ended, and its shim is about to say so.
    Err(DriverError::invalid_state(
        id,
        ContainerStatus::Exited,
        [ContainerStatus::Running],
    ))
}
