//! Pulling: progress, errors inside the stream, an idle time-out, and one pull for all who want the same at once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use driver_types::{BoxStream, DriverError, Image, Operation, PullProgress, PullRequest, Result};
use driver_validation::{ImageReference, validate_pull_request};
use futures_util::{Stream, StreamExt};
use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::credentials::{self, Credentials};
use super::wire::Progress;
use crate::engine::Engine;
use crate::error;
use crate::lines::Lines;

/// A pull that says nothing for so long has failed. A pull as a whole may take any time.
const IDLE: Duration = Duration::from_secs(120);
/// Progress that a slow reader may miss: it is for people, and each item is complete in itself.
const PROGRESS_BUFFER: usize = 256;
const AUTH_HEADER: HeaderName = HeaderName::from_static("x-registry-auth");

/// The pulls under way, by reference and credentials: nobody rides on another's rights.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<HashMap<Key, Weak<Flight>>>);

type Key = (String, u64);

/// One pull, shared by all who want it. It is given up when nobody does any more.
#[derive(Debug)]
struct Flight {
    progress: broadcast::Sender<PullProgress>,
    outcome: watch::Receiver<Option<Result<Image>>>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Pulls an image. The last item has it.
pub(crate) async fn pull_image(
    engine: &Arc<Engine>,
    request: &PullRequest,
) -> Result<BoxStream<PullProgress>> {
    validate_pull_request(request)?;
    let reference: ImageReference = request.reference.parse()?;
    if reference.is_image_id() {
        return Err(DriverError::image_not_found(&request.reference).with_context(
            "reason",
            "an id names an image that the engine already has; pull a name",
        ));
    }
    let auth = match &request.auth {
        Some(auth) => Some(Credentials::Password(auth.clone())),
        None => match engine.options.config_dir() {
            Some(directory) => credentials::stored(&directory, reference.registry()).await?,
            None => None,
        },
    };
    let auth = auth.map(|auth| auth.header());
    let flight = engine.pulls.join(engine, &reference, auth);
    let progress = flight.progress.subscribe();
    Ok(Box::pin(follow(flight, progress)))
}

impl Pulls {
    fn join(
        &self,
        engine: &Arc<Engine>,
        reference: &ImageReference,
        auth: Option<SecretString>,
    ) -> Arc<Flight> {
        let key = (reference.normalized(), fingerprint(auth.as_ref()));
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        // One that is over may still be held by a reader of its last items.
        let under_way = flights.get(&key).and_then(Weak::upgrade);
        if let Some(flight) = under_way.filter(|flight| flight.outcome.borrow().is_none()) {
            return flight;
        }
        let flight = Arc::new(take_off(Arc::clone(engine), reference.clone(), auth));
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

/// Tells credentials apart within this process. Not stored, not shown.
fn fingerprint(auth: Option<&SecretString>) -> u64 {
    let mut hasher = DefaultHasher::new();
    auth.map(ExposeSecret::expose_secret).hash(&mut hasher);
    hasher.finish()
}

fn take_off(engine: Arc<Engine>, reference: ImageReference, auth: Option<SecretString>) -> Flight {
    let (progress, _) = broadcast::channel(PROGRESS_BUFFER);
    let (done, outcome) = watch::channel(None);
    let sender = progress.clone();
    let task = tokio::spawn(async move {
        let outcome = pull(&engine, &reference, auth, &sender).await;
        done.send_replace(Some(outcome));
    });
    Flight {
        progress,
        outcome,
        task: task.abort_handle(),
    }
}

/// The progress from now on, then the image or the error.
fn follow(
    flight: Arc<Flight>,
    progress: broadcast::Receiver<PullProgress>,
) -> impl Stream<Item = Result<PullProgress>> + Send {
    let outcome = flight.outcome.clone();
    futures_util::stream::unfold(Some((flight, progress, outcome)), |state| async move {
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
                _ = outcome.changed() => {}
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
    })
}

async fn pull(
    engine: &Arc<Engine>,
    reference: &ImageReference,
    auth: Option<SecretString>,
    progress: &broadcast::Sender<PullProgress>,
) -> Result<Image> {
    let operation = Operation::PullImage;
    let name = reference.as_str();
    // Never without tag and digest: the engine would pull all tags.
    let tag = reference.digest().or(reference.tag()).unwrap_or("latest");
    let mut call = engine
        .client
        .post("/images/create")
        .query("fromImage", reference.name())
        .query("tag", tag);
    if let Some(auth) = auth {
        call = call.header(AUTH_HEADER, auth.expose_secret());
    }
    let failed = |failure| error::image(operation, name, failure);
    let body = idle(name, call.stream()).await?.map_err(failed)?;
    let mut lines = Lines::new(body.boxed());
    while let Some(line) = idle(name, lines.next::<Progress>()).await? {
        let line = line.map_err(failed)?;
        if let Some(failure) = line.failure() {
            return Err(failed(failure));
        }
        // Nobody may be listening just now.
        let _ = progress.send(item(line));
    }
    let image = super::get_image(engine, name).await?;
    image
        .ok_or_else(|| DriverError::image_pull(name, "the engine ended the pull and does not have the image"))
}

async fn idle<T>(reference: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(IDLE, work).await.map_err(|_| {
        let seconds = IDLE.as_secs();
        DriverError::image_pull(reference, format!("no progress for {seconds} s"))
    })
}

fn item(line: Progress) -> PullProgress {
    let detail = line.progress_detail.unwrap_or_default();
    // `complete` is reserved for the last item.
    let status = match line.status.as_str() {
        PullProgress::COMPLETE => "done".to_owned(),
        _ => line.status,
    };
    PullProgress {
        status,
        layer: line.id,
        current_bytes: detail.current,
        total_bytes: detail.total.filter(|total| *total > 0),
        image: None,
    }
}
