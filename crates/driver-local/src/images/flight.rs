//! One pull for all who want the same at once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use driver_types::{BoxStream, DriverError, Image, PullProgress, RegistryAuth, Result};
use futures_util::stream;
use secrecy::ExposeSecret;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

/// Progress that a slow reader may miss: it is for people, and each item is complete in itself.
const BUFFER: usize = 256;

/// Where a pull tells what it does. Nobody may be listening.
#[derive(Clone, Debug)]
pub(super) struct Progress(broadcast::Sender<PullProgress>);

/// The pulls under way, by reference and credentials: nobody rides on another's rights.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<Key, Weak<Flight>>>);

type Key = (String, u64);
type Outcome = Option<Result<Image>>;

/// One pull, shared by all who want it. It is given up when nobody does any more.
#[derive(Debug)]
struct Flight {
    progress: broadcast::Sender<PullProgress>,
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Progress {
    pub(super) fn tell(&self, status: &str, layer: Option<&str>, bytes: Option<(u64, u64)>) {
        let _ = self.0.send(PullProgress {
            status: status.to_owned(),
            layer: layer.map(str::to_owned),
            current_bytes: bytes.map(|(current, _)| current),
            total_bytes: bytes.map(|(_, total)| total),
            image: None,
        });
    }
}

impl Pulls {
    /// The progress of a pull from now on, then the image or the error. `work` is done unless somebody is at it already.
    pub(super) fn join<F>(
        &self,
        reference: &str,
        auth: Option<&RegistryAuth>,
        work: impl FnOnce(Progress) -> F,
    ) -> BoxStream<PullProgress>
    where
        F: Future<Output = Result<Image>> + Send + 'static,
    {
        let key = (reference.to_owned(), fingerprint(auth));
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        // One that is over may still be held by a reader of its last items.
        let under_way = flights.get(&key).and_then(Weak::upgrade);
        let flight = under_way
            .filter(|flight| flight.outcome.borrow().is_none())
            .unwrap_or_else(|| {
                let flight = Arc::new(take_off(work));
                flights.insert(key, Arc::downgrade(&flight));
                flight
            });
        drop(flights);
        follow(flight)
    }
}

/// Tells credentials apart within this process. Not stored, not shown.
fn fingerprint(auth: Option<&RegistryAuth>) -> u64 {
    let mut hasher = DefaultHasher::new();
    auth.map(|auth| (&auth.username, auth.password.expose_secret()))
        .hash(&mut hasher);
    hasher.finish()
}

fn take_off<F>(work: impl FnOnce(Progress) -> F) -> Flight
where
    F: Future<Output = Result<Image>> + Send + 'static,
{
    let (progress, _) = broadcast::channel(BUFFER);
    let (done, outcome) = watch::channel(None);
    let work = work(Progress(progress.clone()));
    let task = tokio::spawn(async move {
        let outcome = work.await;
        done.send_replace(Some(outcome));
    });
    Flight {
        progress,
        outcome,
        task: task.abort_handle(),
    }
}

fn follow(flight: Arc<Flight>) -> BoxStream<PullProgress> {
    let (progress, outcome) = (flight.progress.subscribe(), flight.outcome.clone());
    Box::pin(stream::unfold(
        Some((flight, progress, outcome)),
        |state| async move {
            let (flight, mut progress, mut outcome) = state?;
            loop {
                let over = outcome.borrow().is_some();
                match progress.try_recv() {
                    Ok(item) => return Some((Ok(item), Some((flight, progress, outcome)))),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
                    Err(_) if over => break,
                    Err(_) => {}
                }
                tokio::select! {
                    item = progress.recv() => match item {
                        Ok(item) => return Some((Ok(item), Some((flight, progress, outcome)))),
                        Err(_) => continue,
                    },
                    changed = outcome.changed() => if changed.is_err() && outcome.borrow().is_none() {
                        break;
                    },
                }
            }
            let outcome = outcome.borrow().clone();
            let last = outcome.unwrap_or_else(|| Err(DriverError::internal("the pull was lost")));
            let last = last.map(|image| PullProgress {
                status: PullProgress::COMPLETE.to_owned(),
                layer: None,
                current_bytes: None,
                total_bytes: None,
                image: Some(image),
            });
            Some((last, None))
        },
    ))
}
