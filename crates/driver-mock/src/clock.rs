//! The time that a world lives by: tokio's (real or paused), or one that only a test moves.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock. A clone is the same clock.
///
/// With [`Clock::tokio`] a paused tokio runtime (`start_paused`) moves on by itself whenever nothing is left to do, so
/// that a simulated minute costs microseconds. With [`Clock::manual`] time stands still until [`Clock::advance`].
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    epoch: Duration,
    source: Source,
}

enum Source {
    Tokio(OnceLock<tokio::time::Instant>),
    Manual(Mutex<Manual>),
}

#[derive(Default)]
struct Manual {
    now: Duration,
    sequence: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
}

/// How often tasks get their turn between two timers of [`Clock::advance`].
const TURNS: usize = 64;

impl Clock {
    /// Follows tokio's clock; begins at the present.
    pub fn tokio() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Inner {
            epoch,
            source: Source::Tokio(OnceLock::new()),
        }))
    }

    /// Stands still at this epoch time, in milliseconds, until it is advanced.
    pub fn manual(epoch_ms: u64) -> Self {
        Self(Arc::new(Inner {
            epoch: Duration::from_millis(epoch_ms),
            source: Source::Manual(Mutex::default()),
        }))
    }

    /// The time since the clock was first read.
    pub fn elapsed(&self) -> Duration {
        match &self.0.source {
            Source::Tokio(start) => {
                let now = tokio::time::Instant::now();
                now.saturating_duration_since(*start.get_or_init(|| now))
            }
            Source::Manual(manual) => lock(manual).now,
        }
    }

    /// The time in epoch milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.at(self.elapsed())
    }

    /// The epoch milliseconds at an elapsed time.
    pub(crate) fn at(&self, elapsed: Duration) -> u64 {
        u64::try_from((self.0.epoch + elapsed).as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0.source {
            Source::Tokio(_) => tokio::time::sleep(duration).await,
            Source::Manual(_) => {
                Timer {
                    clock: Arc::clone(&self.0),
                    deadline: self.elapsed() + duration,
                    key: None,
                }
                .await;
            }
        }
    }

    /// The outcome of `future`, or `None` when the limit was over first. Costs nothing where `future` is ready at
    /// once.
    pub(crate) async fn limit<T>(
        &self,
        limit: Option<Duration>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        if let Some(output) = std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
        {
            return Some(output);
        }
        match limit {
            None => Some(future.await),
            Some(limit) => tokio::select! {
                biased;
                output = future => Some(output),
                () = self.sleep(limit) => None,
            },
        }
    }

    /// Moves a manual clock on, from timer to timer, and lets the tasks that they wake run in between. Does nothing
    /// on a clock that follows tokio's.
    pub async fn advance(&self, duration: Duration) {
        let Source::Manual(manual) = &self.0.source else {
            return;
        };
        turns().await;
        let target = lock(manual).now + duration;
        loop {
            let due = {
                let mut manual = lock(manual);
                match manual.timers.first_key_value().map(|(key, _)| *key) {
                    Some(key) if key.0 <= target => {
                        manual.now = manual.now.max(key.0);
                        manual.timers.remove(&key)
                    }
                    _ => {
                        manual.now = manual.now.max(target);
                        None
                    }
                }
            };
            match due {
                Some(waker) => waker.wake(),
                None => break,
            }
            turns().await;
        }
        turns().await;
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

fn lock(manual: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Clock {
    fn default() -> Self {
        Self::tokio()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.0.source {
            Source::Tokio(_) => "tokio",
            Source::Manual(_) => "manual",
        };
        f.debug_struct("Clock").field("source", &source).finish()
    }
}

/// A sleep on a manual clock.
struct Timer {
    clock: Arc<Inner>,
    deadline: Duration,
    key: Option<(Duration, u64)>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = Arc::clone(&self.clock);
        let Source::Manual(manual) = &clock.source else {
            return Poll::Ready(());
        };
        let mut manual = lock(manual);
        if manual.now >= self.deadline {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => {
                manual.sequence += 1;
                (self.deadline, manual.sequence)
            }
        };
        manual.timers.insert(key, context.waker().clone());
        drop(manual);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let (Some(key), Source::Manual(manual)) = (self.key, &self.clock.source) {
            lock(manual).timers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_the_paused_clock_of_tokio() {
        let clock = Clock::tokio();
        let start = clock.now_ms();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now_ms() - start, 3_600_000);
    }

    #[tokio::test]
    async fn a_manual_clock_stands_still_until_it_is_advanced() {
        let clock = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                for _ in 0..3 {
                    clock.sleep(Duration::from_millis(10)).await;
                }
                clock.now_ms()
            }
        });
        clock.advance(Duration::from_millis(29)).await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_millis(1)).await;
        assert_eq!(sleeper.await.unwrap(), 1_030);
    }

    #[tokio::test]
    async fn a_dropped_sleep_leaves_no_timer() {
        let clock = Clock::manual(0);
        assert!(clock.limit(None, clock.sleep(Duration::ZERO)).await.is_some());
        {
            let mut sleep = pin!(clock.sleep(Duration::from_secs(1)));
            tokio::select! {
                biased;
                () = sleep.as_mut() => panic!("the clock stands still"),
                () = std::future::ready(()) => {}
            }
        }
        let Source::Manual(manual) = &clock.0.source else {
            panic!("not manual")
        };
        assert!(lock(manual).timers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_what_hangs() {
        let clock = Clock::tokio();
        let hang = clock.limit(Some(Duration::from_secs(1)), std::future::pending::<()>());
        assert_eq!(hang.await, None);
        assert_eq!(clock.limit(None, async { 7 }).await, Some(7));
    }
}
