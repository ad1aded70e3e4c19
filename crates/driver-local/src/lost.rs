//! Runs whose shim was killed. They get another one, which goes on where it was; where that cannot be, they are ended, and
//! those who wait are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driver_local_shim::{Report, Task};
use driver_types::{ContainerStatus, DriverError, Result, Signal};
use tokio::io::Interest;

use crate::container::Container;
use crate::core::{Core, Turn, blocking};
use crate::journal::Record;
use crate::shim::ShimProcess;
use crate::time::now_ms;
use crate::{launch, lifecycle, process, ready};

/// How often a run gets another shim that dies before it answers: more often than shims wait that one killer could know.
const ADOPTIONS: usize = 5;
/// How long `recover` waits for a shim's word. It takes as long where the host's pid 1 is slow to reap: an exec whose shim was
/// killed is its child, and the kernel ends the container's first process after all others were reaped.
const WORD_LIMIT: Duration = Duration::from_secs(30);
/// Longer than a process takes from its first closed file to its last.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// A lock cannot be awaited without a thread that may be stuck; here it is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// What came of giving a run another shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adoption {
    /// It has a shim that this driver watches, or its end is written.
    Done,
    /// It has one of another driver's, which may be about to end.
    Others,
    /// It cannot have one.
    Impossible,
}

/// The runs whose shims this driver waits for, by container and number; one of whose shims another is on the way twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Arc<Mutex<Vec<(String, u32)>>>);

/// A run among them, until it is dropped.
#[derive(Debug)]
struct Watch {
    all: Watched,
    run: (String, u32),
}

impl Watched {
    fn add(&self, id: &str, run: u32) -> Watch {
        let run = (id.to_owned(), run);
        self.runs().push(run.clone());
        let all = self.clone();
        Watch { all, run }
    }

    pub(crate) fn has(&self, id: &str, run: u32) -> bool {
        self.runs().iter().any(|(of, number)| of == id && *number == run)
    }

    fn runs(&self) -> MutexGuard<'_, Vec<(String, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut runs = self.all.runs();
        let index = runs.iter().position(|run| *run == self.run);
        index.map(|index| runs.swap_remove(index));
    }
}

/// Waits for the end of a run's shim; where it has not written the end of the run, takes care of that. Ends with the driver.
pub(crate) fn watch(core: &Arc<Core>, id: &str, run: u32, shim: ShimProcess) {
    watch_until(core, id, run, shim.ended());
}

fn watch_until(core: &Arc<Core>, id: &str, run: u32, end: impl Future<Output = ()> + Send + 'static) {
    let watch = core.watched.add(id, run);
    let (core, id) = (Arc::downgrade(core), id.to_owned());
    tokio::spawn(async move {
        end.await;
        let Some(core) = core.upgrade() else { return };
        let rescued = rescue(&core, &id, run).await;
        // Else it would count as watched.
        drop(watch);
        let done = match rescued {
            Ok(Adoption::Others) => Box::pin(guard(&core, &id)).await,
            other => other.map(drop),
        };
        if let Err(error) = done {
            tracing::warn!(container = id, %error, "a run whose shim was killed is left for recover");
        }
    });
}

/// Watches a run whose shim another driver has started. A shim that is being killed still has its lock, and counts as one that
/// lives; when it is gone the run gets another one.
async fn guard(core: &Arc<Core>, id: &str) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < LOCK_LIMIT {
        let found = core.containers.look(id)?;
        let Some((container, run)) = found.as_ref().and_then(|found| Some((found, found.live()?))) else {
            return Ok(());
        };
        if core.watched.has(id, run.number) {
            return Ok(());
        }
        if !container.dir.has_shim() && adopt_now(core, id).await? == Adoption::Done {
            return Ok(());
        }
        // One that begins or ends does not listen.
        let shim = process::shim(container.dir.path());
        if let Ok(shim) = shim.and_then(|shim| ready::register(shim, Interest::READABLE)) {
            watch_until(core, id, run.number, async move {
                let _ = shim.readable().await;
            });
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    tracing::warn!(
        container = id,
        "its shim does not answer; nobody will see it killed"
    );
    Ok(())
}

/// Gives a run another shim, or ends it where it cannot have one.
async fn rescue(core: &Arc<Core>, id: &str, run: u32) -> Result<Adoption> {
    let is_lost = || -> Result<bool> {
        let found = core.containers.look(id)?;
        let unfinished = found.as_ref().and_then(|container| container.unfinished());
        Ok(unfinished.is_some_and(|unfinished| unfinished.number == run))
    };
    if !is_lost()? || core.is_shut_down() {
        return Ok(Adoption::Done);
    }
    await_lock(core, id).await?;
    // Not in the container's turn: a stop that waits for the end has it. Two who adopt are told apart by the shim's lock.
    match Box::pin(adopt_now(core, id)).await? {
        Adoption::Impossible if is_lost()? => end(core, id)?,
        other => return Ok(other),
    }
    let turn = match core.turn_of_any(id).await {
        Err(error) if error.code() == "CONTAINER_NOT_FOUND" => return Ok(Adoption::Impossible),
        turn => turn?,
    };
    let now = &turn.container;
    if now.live().is_some() {
        return Ok(Adoption::Others);
    }
    if now.story.starting.is_none() {
        let (core, now) = (Arc::clone(core), now.clone());
        blocking(move || lifecycle::clean(&core, &now)).await?;
    }
    Ok(Adoption::Impossible)
}

/// Whether a run has begun all the same whose shim was killed before it said so; then it has a shim now, or its end is written.
pub(crate) async fn is_taken_over(core: &Arc<Core>, id: &str, run: u32) -> Result<bool> {
    let found = core.containers.look(id)?;
    let begun = found.and_then(|container| container.story.run);
    if begun.is_none_or(|begun| begun.number != run) {
        return Ok(false);
    }
    await_lock(core, id).await?;
    Ok(adopt_now(core, id).await? != Adoption::Impossible)
}

/// A process that ends closes its files one after another: the socket that told of its end comes before the lock. It stays
/// taken where another driver has given the run a shim meanwhile.
async fn await_lock(core: &Core, id: &str) -> Result<()> {
    let Some(container) = core.containers.look(id)? else {
        return Ok(());
    };
    let free = async {
        while container.dir.has_shim() {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    let _ = tokio::time::timeout(LOCK_LIMIT, free).await;
    Ok(())
}

/// Sees to it that a run has a shim, and that somebody watches that; of a run that has ended meanwhile it finds out how.
pub(crate) async fn take_over(core: &Arc<Core>, mut turn: Turn) -> Result<Turn> {
    let id = turn.container.id().to_owned();
    adopt_now(core, &id).await?;
    turn.container = hear(core, &id).await?;
    if turn.container.unfinished().is_some() && !turn.container.dir.has_shim() {
        // It was being killed, and has let go of its lock without a word.
        adopt_now(core, &id).await?;
        hear(core, &id).await?;
    }
    guard(core, &id).await?;
    turn.container = core.containers.find(&id)?;
    Ok(turn)
}

/// Waits until the shim has written what it is about to write, so that the journal tells how things are.
async fn hear(core: &Core, id: &str) -> Result<Container> {
    let heard = async {
        loop {
            let now = core.containers.find(id)?;
            if !is_about_to_write(&now) {
                return Ok::<_, DriverError>(now);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match tokio::time::timeout(WORD_LIMIT, heard).await {
        Ok(now) => now,
        Err(_) => {
            tracing::warn!(container = id, "its shim writes neither a beginning nor an end");
            core.containers.find(id)
        }
    }
}

/// Whether a shim is at the beginning of a run, whose driver is gone because it is another's turn, or at the end of one.
fn is_about_to_write(container: &Container) -> bool {
    let begins = container.story.starting.is_some();
    let ends = || {
        let unfinished = container.unfinished();
        unfinished.is_some_and(|run| container.dir.has_exit() || process::has_ended(&run.init))
    };
    (begins || ends()) && container.dir.has_shim()
}

/// Gives a run another shim. Whoever kills a shim may kill the next one too, before it answers.
async fn adopt_now(core: &Arc<Core>, id: &str) -> Result<Adoption> {
    // Of two shims at a time one would wait for the other's lock in vain.
    let _turn = core.adopting.lock(id).await;
    for _ in 0..ADOPTIONS {
        let Some(container) = core.containers.look(id)? else {
            return Ok(Adoption::Impossible);
        };
        let Some(run) = container.unfinished() else {
            return Ok(Adoption::Done);
        };
        if container.dir.has_shim() {
            return Ok(Adoption::Others);
        }
        if run.init.boot_id != process::boot_id() || container.status() == ContainerStatus::Removing {
            return Ok(Adoption::Impossible);
        }
        let task = Task::Adopt(Box::new(launch::adopt_task(core, &container, run)));
        let adopted = match core.shim.spawn(&task).await {
            Ok(mut shim) => shim.report().await.map(|report| (shim, report)),
            Err(error) => Err(error),
        };
        match adopted {
            Ok((shim, Report::Started { .. })) => {
                core.containers.look(id)?;
                watch(core, id, run.number, shim);
                return Ok(Adoption::Done);
            }
            Ok((_, Report::Ready)) => {
                core.containers.look(id)?;
                return Ok(Adoption::Done);
            }
            // What cannot be adopted is ended.
            Ok((_, other)) => {
                tracing::warn!(container = id, ?other, "it cannot be adopted");
                return Ok(Adoption::Impossible);
            }
            Err(error) => tracing::warn!(container = id, %error, "the shim that was to adopt it is gone"),
        }
    }
    Ok(Adoption::Impossible)
}

/// Ends the processes of a run without a shim, and tells so. Where there is none it does nothing.
///
/// # Errors
///
/// Those of the journal; `INTERNAL_ERROR` where they cannot be killed.
pub(crate) fn end(core: &Core, id: &str) -> Result<()> {
    let Some(container) = core.containers.look(id)? else {
        return Ok(());
    };
    let Some(run) = container.unfinished().filter(|_| !container.dir.has_shim()) else {
        return Ok(());
    };
    let killed = process::signal(&run.init, Signal::KILL).map_err(|error| {
        DriverError::internal(format!(
            "container {id} has no shim and cannot be killed: {error}"
        ))
    })?;
    if killed {
        tracing::warn!(container = id, "its shim is gone; its processes were killed");
    }
    let lost = Record::Lost {
        run: run.number,
        at: now_ms(),
    };
    core.containers.record(&container, &lost)?;
    Ok(())
}
