//! [`KeyedMutex`]: one at a time for each key, in the order of arrival.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::map::HashMap;
use crate::sync::{Mutex, lock};

/// A key that is locked has an entry: the callers that wait for it, first come first served.
type Queues = HashMap<Arc<str>, VecDeque<oneshot::Sender<KeyedGuard>>>;

/// An asynchronous lock for each key, for example for each container id.
///
/// - Callers of one key get it in the order in which they first waited; callers of different keys do not meet.
/// - Cancelling is safe: a caller that stops waiting is passed over.
/// - A key costs memory only while somebody has it or waits for it.
///
/// A clone is another handle on the same locks.
#[derive(Clone, Default)]
pub struct KeyedMutex {
    queues: Arc<Mutex<Queues>>,
}

impl KeyedMutex {
    /// No key is locked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the key. Locking a key that the caller has already waits for ever.
    pub async fn lock(&self, key: &str) -> KeyedGuard {
        let turn = match self.lock_or_queue(key) {
            Ok(guard) => return guard,
            Err(turn) => turn,
        };
        match turn.await {
            Ok(guard) => guard,
            // A queue is only dropped when it is empty, so every sender is used.
            Err(_) => unreachable!("the queue of a locked key was dropped"),
        }
    }

    /// The key, unless somebody has it.
    pub fn try_lock(&self, key: &str) -> Option<KeyedGuard> {
        let mut queues = lock(&self.queues);
        if queues.contains_key(key) {
            return None;
        }
        Some(self.begin(&mut queues, key))
    }

    /// How many keys are locked.
    pub fn locked(&self) -> usize {
        lock(&self.queues).len()
    }

    fn lock_or_queue(&self, key: &str) -> Result<KeyedGuard, oneshot::Receiver<KeyedGuard>> {
        let mut queues = lock(&self.queues);
        match queues.get_mut(key) {
            Some(queue) => {
                // Those who gave up are let go here too, or a key that is held for long could collect them.
                queue.retain(|waiter| !waiter.is_closed());
                let (sender, turn) = oneshot::channel();
                queue.push_back(sender);
                Err(turn)
            }
            None => Ok(self.begin(&mut queues, key)),
        }
    }

    fn begin(&self, queues: &mut Queues, key: &str) -> KeyedGuard {
        let key: Arc<str> = key.into();
        queues.insert(Arc::clone(&key), VecDeque::new());
        KeyedGuard {
            lock: Some((self.clone(), key)),
        }
    }

    /// Hands the key to the first who still waits, or frees it.
    fn pass_on(&self, key: &Arc<str>) {
        loop {
            let next = {
                let mut queues = lock(&self.queues);
                let next = queues.get_mut(key).and_then(VecDeque::pop_front);
                if next.is_none() {
                    queues.remove(key);
                }
                next
            };
            let Some(next) = next else {
                return;
            };
            let guard = KeyedGuard {
                lock: Some((self.clone(), Arc::clone(key))),
            };
            match next.send(guard) {
                Ok(()) => return,
                // It gave up. Its guard must not pass the key on by itself.
                Err(mut guard) => guard.lock = None,
            }
        }
    }
}

impl fmt::Debug for KeyedMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedMutex")
            .field("locked", &self.locked())
            .finish()
    }
}

/// The right to a key of a [`KeyedMutex`]. Dropping it passes the key on.
#[must_use = "dropping the guard frees the key"]
pub struct KeyedGuard {
    lock: Option<(KeyedMutex, Arc<str>)>,
}

impl Drop for KeyedGuard {
    fn drop(&mut self) {
        if let Some((mutex, key)) = self.lock.take() {
            mutex.pass_on(&key);
        }
    }
}

impl fmt::Debug for KeyedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.lock.as_ref().map(|(_, key)| key);
        f.debug_struct("KeyedGuard").field("key", &key).finish()
    }
}
