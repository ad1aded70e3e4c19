//! Start, stop, remove, pause, resume and signal: one state-changing call after another for each container, each
//! finished even if its caller goes away, and refused by the state table rather than by the engine's texts.

use std::sync::Arc;
use std::time::Duration;

use driver_types::{
    Action, ContainerStatus, DriverError, Operation, RemoveOptions, Result, Signal, StopOptions, Transition,
};
use driver_validation::validate_stop_options;

use crate::engine::{Engine, detached, is_full_id};
use crate::failure::Failure;
use crate::oom::see_run;
use crate::records::Record;
use crate::time::now_ms;
use crate::wire::Inspect;
use crate::{error, instance, program};

/// Longer than any engine needs to notice the end of a killed process.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// A container whose turn it is, as the engine describes it.
pub(crate) struct Turn {
    pub(crate) engine: Arc<Engine>,
    record: Arc<Record>,
    pub(crate) id: String,
    pub(crate) operation: Operation,
    pub(crate) inspect: Inspect,
}

/// Waits for the container's turn, then does the work in a task of its own, so that a caller who goes away cannot leave
/// it half done. The snapshot is stale before and after.
pub(crate) async fn in_turn<F>(
    engine: &Arc<Engine>,
    operation: Operation,
    id: &str,
    work: impl FnOnce(Turn) -> F + Send + 'static,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    if !is_full_id(id) {
        return Err(DriverError::container_not_found(id));
    }
    let record = engine.records.of(id);
    let order = Arc::clone(&record.order).lock_owned().await;
    let (engine, id) = (Arc::clone(engine), id.to_owned());
    detached(async move {
        let result = match engine.inspect(operation, &id).await {
            Ok(inspect) => {
                see_run(&engine, &record, &inspect);
                let turn = Turn {
                    engine: Arc::clone(&engine),
                    record: Arc::clone(&record),
                    id: id.clone(),
                    operation,
                    inspect,
                };
                work(turn).await
            }
            Err(error) => Err(error),
        };
        match &result {
            Err(error) if error.code() == "CONTAINER_NOT_FOUND" => engine.records.forget(&id),
            _ => record.changed(),
        }
        drop(order);
        result
    })
    .await
}

impl Turn {
    /// Where the container is in its life.
    pub(crate) fn status(&self) -> ContainerStatus {
        instance::status(&self.inspect, &self.record.memory())
    }

    /// What the state table says, or its error.
    fn check(&self, action: Action) -> Result<Transition> {
        self.status().check(&self.id, action)
    }

    async fn look_again(&mut self) -> Result<()> {
        self.inspect = self.engine.inspect(self.operation, &self.id).await?;
        see_run(&self.engine, &self.record, &self.inspect);
        Ok(())
    }

    async fn post(&self, verb: &str) -> Result<(), Failure> {
        self.engine
            .client
            .post(format!("/containers/{}/{verb}", self.id))
            .unit()
            .await
    }

    /// Does something that the engine may refuse because the process ended, or somebody else acted, meanwhile: then
    /// the state table decides anew.
    async fn act(&mut self, verb: &str, action: Action) -> Result<()> {
        match self.post(verb).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let before = self.status();
                self.look_again().await?;
                if self.status() == before && failure.status_code().is_some() {
                    return Err(error::container(self.operation, &self.id, failure));
                }
                match self.check(action)? {
                    Transition::NoOp | Transition::Gone => Ok(()),
                    _ => Err(error::container(self.operation, &self.id, failure)),
                }
            }
        }
    }
}

/// Starts the main process.
pub(crate) async fn start_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    in_turn(engine, Operation::StartContainer, id, async |mut turn| {
        if turn.check(Action::Start)? == Transition::NoOp {
            return Ok(());
        }
        let engine = Arc::clone(&turn.engine);
        let pristine = turn.status() == ContainerStatus::Created && turn.record.memory().pristine;
        program::check(&engine, &turn.inspect, pristine).await?;
        let _permit = engine.start_permit().await?;
        // Whatever is told of before is of an earlier run.
        turn.record
            .remember(|memory| memory.start_asked_at = Some(now_ms()));
        match turn.post("start").await {
            Ok(()) => Ok(()),
            Err(failure) => {
                // The connection may have broken after the engine had begun: its state tells.
                turn.look_again().await?;
                if failure.status_code().is_none() && turn.status() == ContainerStatus::Running {
                    return Ok(());
                }
                Err(error::container(turn.operation, &turn.id, failure))
            }
        }
    })
    .await
}

/// Stops the main process, and returns when it is gone.
pub(crate) async fn stop_container(engine: &Arc<Engine>, id: &str, options: &StopOptions) -> Result<()> {
    validate_stop_options(options)?;
    let options = *options;
    in_turn(engine, Operation::StopContainer, id, async move |mut turn| {
        if turn.check(Action::Stop)? == Transition::NoOp {
            return Ok(());
        }
        let run = turn.inspect.state.started_at.clone();
        // Before the process ends, so that nobody sees the end without its reason.
        let earlier = turn.record.remember(|memory| memory.stopped_run.replace(run));
        let result = stop(&mut turn, &options).await;
        if result.is_err() {
            turn.record.remember(|memory| memory.stopped_run = earlier);
        }
        result
    })
    .await
}

async fn stop(turn: &mut Turn, options: &StopOptions) -> Result<()> {
    let grace = options.effective_timeout();
    if grace == 0 {
        kill(turn).await?;
        return until_ended(turn).await;
    }
    if turn.status() == ContainerStatus::Paused {
        // A frozen process cannot handle a signal; its grace time begins when it goes on.
        turn.act("unpause", Action::Resume).await?;
        turn.look_again().await?;
    }
    match options.signal {
        // Only API 1.42 has a signal for a stop.
        Some(signal) => {
            signal_first(turn, signal).await?;
            if !ended_within(turn, Duration::from_millis(grace)).await? {
                kill(turn).await?;
            }
        }
        None => {
            let seconds = grace.div_ceil(1000);
            let path = format!("/containers/{}/stop", turn.id);
            let stopped = turn.engine.client.post(path).query("t", seconds).unit().await;
            if let Err(failure) = stopped {
                turn.look_again().await?;
                if turn.status().is_alive() {
                    return Err(error::container(turn.operation, &turn.id, failure));
                }
            }
        }
    }
    until_ended(turn).await
}

async fn signal_first(turn: &mut Turn, signal: Signal) -> Result<()> {
    match send_signal(&turn.engine, &turn.id, signal).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            turn.look_again().await?;
            if turn.status().is_alive() {
                return Err(error::container(turn.operation, &turn.id, failure));
            }
            Ok(())
        }
    }
}

async fn kill(turn: &mut Turn) -> Result<()> {
    signal_first(turn, Signal::KILL).await
}

async fn send_signal(engine: &Engine, id: &str, signal: Signal) -> Result<(), Failure> {
    let path = format!("/containers/{id}/kill");
    engine
        .client
        .post(path)
        .query("signal", signal.number())
        .unit()
        .await
}

/// Waits until the run has ended; an engine that never says so is an error.
async fn until_ended(turn: &mut Turn) -> Result<()> {
    if ended_within(turn, GONE_LIMIT).await? {
        return Ok(());
    }
    let message = format!(
        "the engine did not report its end within {} s",
        GONE_LIMIT.as_secs()
    );
    Err(DriverError::container_stop(&turn.id, message))
}

/// Waits for the end of the run, or for the limit. The engine's own wait tells it first.
async fn ended_within(turn: &mut Turn, limit: Duration) -> Result<bool> {
    turn.look_again().await?;
    if !turn.status().is_alive() {
        return Ok(true);
    }
    let path = format!("/containers/{}/wait", turn.id);
    let call = turn.engine.client.post(path).query("condition", "not-running");
    // However the wait ends, the container's state is what counts.
    let _ = tokio::time::timeout(limit, call.unit()).await;
    turn.look_again().await?;
    Ok(!turn.status().is_alive())
}

/// Removes a container, and returns when it is gone.
pub(crate) async fn remove_container(engine: &Arc<Engine>, id: &str, options: &RemoveOptions) -> Result<()> {
    let options = *options;
    let removed = in_turn(engine, Operation::RemoveContainer, id, async move |turn| {
        let action = if options.force {
            Action::RemoveForce
        } else {
            Action::Remove
        };
        turn.check(action)?;
        if options.force {
            turn.record.remember(|memory| memory.removing = true);
        }
        let removed = remove(&turn, options).await;
        match &removed {
            Ok(()) => turn.engine.records.forget(&turn.id),
            Err(_) => turn.record.remember(|memory| memory.removing = false),
        }
        removed
    })
    .await;
    match removed {
        Err(error) if options.ignore_missing && error.code() == "CONTAINER_NOT_FOUND" => Ok(()),
        other => other,
    }
}

async fn remove(turn: &Turn, options: RemoveOptions) -> Result<()> {
    let removed = turn
        .engine
        .client
        .delete(format!("/containers/{}", turn.id))
        .query("force", options.force)
        .query("v", options.volumes)
        .unit()
        .await;
    let failure = match removed {
        Ok(()) => return Ok(()),
        // Somebody else was faster.
        Err(failure) if failure.status_code() == Some(404) => return Ok(()),
        Err(failure) if error::is_removal_in_progress(&failure) || failure.status_code().is_none() => failure,
        Err(failure) => return Err(error::container(turn.operation, &turn.id, failure)),
    };
    if is_gone_soon(turn).await? {
        return Ok(());
    }
    Err(error::container(turn.operation, &turn.id, failure))
}

/// Waits until somebody else's removal is done.
async fn is_gone_soon(turn: &Turn) -> Result<bool> {
    let path = format!("/containers/{}/wait", turn.id);
    let call = turn.engine.client.post(path).query("condition", "removed");
    let _ = tokio::time::timeout(GONE_LIMIT, call.unit()).await;
    Ok(turn.engine.find(turn.operation, &turn.id).await?.is_none())
}

/// Freezes all processes.
pub(crate) async fn pause_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    in_turn(
        engine,
        Operation::PauseContainer,
        id,
        async |mut turn| match turn.check(Action::Pause)? {
            Transition::NoOp => Ok(()),
            _ => turn.act("pause", Action::Pause).await,
        },
    )
    .await
}

/// Lets frozen processes go on.
pub(crate) async fn resume_container(engine: &Arc<Engine>, id: &str) -> Result<()> {
    in_turn(
        engine,
        Operation::ResumeContainer,
        id,
        async |mut turn| match turn.check(Action::Resume)? {
            Transition::NoOp => Ok(()),
            _ => turn.act("unpause", Action::Resume).await,
        },
    )
    .await
}

/// Sends a signal to the main process. It changes no status by itself, so it does not wait for its turn: the signal
/// that ends a long stop must come through.
pub(crate) async fn signal_container(engine: &Arc<Engine>, id: &str, signal: Signal) -> Result<()> {
    let operation = Operation::SignalContainer;
    let status = async || {
        let inspect = engine.inspect(operation, id).await?;
        Ok::<_, DriverError>(instance::status(&inspect, &engine.records.of(id).memory()))
    };
    let refused = |status| Err(DriverError::invalid_state(id, status, [ContainerStatus::Running]));
    let before = status().await?;
    if before != ContainerStatus::Running {
        return refused(before);
    }
    match send_signal(engine, id, signal).await {
        Ok(()) => {
            engine.records.changed(id);
            Ok(())
        }
        // It may have ended meanwhile.
        Err(failure) => match status().await? {
            ContainerStatus::Running => Err(error::container(operation, id, failure)),
            now => refused(now),
        },
    }
}
