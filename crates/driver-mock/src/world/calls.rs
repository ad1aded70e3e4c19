//! What happens to a call before and after it has its effect: delays, faults, an engine that is away.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use driver_types::{DriverError, Operation, Result};

use super::Inner;
use crate::script::{Fault, Lie, Lies};

/// Counts calls and knows what goes wrong with which.
#[derive(Debug)]
pub(crate) struct Calls {
    counts: [AtomicU64; Operation::ALL.len()],
    faults: RwLock<Vec<Fault>>,
    has_faults: AtomicBool,
    lies: AtomicU64,
    random: AtomicU64,
    down: AtomicBool,
}

/// What to do instead of, or after, a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing special.
    Normal,
    /// The effect happens, the reply is lost.
    DropReply,
    /// The effect stops half-way.
    Partial,
}

impl Calls {
    pub(crate) fn new(seed: u64, faults: &[Fault]) -> Self {
        let calls = Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            faults: RwLock::default(),
            has_faults: AtomicBool::new(false),
            lies: AtomicU64::new(0),
            random: AtomicU64::new(seed),
            down: AtomicBool::new(false),
        };
        calls.set_faults(faults.to_vec());
        calls
    }

    pub(crate) fn set_faults(&self, faults: Vec<Fault>) {
        self.lies.store(Lies::of(&faults).bits(), Ordering::Relaxed);
        self.has_faults.store(
            faults.iter().any(|fault| fault.applies_to().is_some()),
            Ordering::Relaxed,
        );
        *self
            .faults
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = faults;
    }

    pub(crate) fn add_fault(&self, fault: Fault) {
        let mut faults = self
            .faults
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        faults.push(fault);
        self.set_faults(faults);
    }

    pub(crate) fn reset(&self, seed: u64, faults: &[Fault]) {
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.random.store(seed, Ordering::Relaxed);
        self.down.store(false, Ordering::Relaxed);
        self.set_faults(faults.to_vec());
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    pub(crate) fn lies(&self, lie: Lie) -> bool {
        Lies::from_bits(self.lies.load(Ordering::Relaxed)).has(lie)
    }

    /// How often an operation was called.
    pub(crate) fn count(&self, operation: Operation) -> u64 {
        self.counts[operation as usize].load(Ordering::Relaxed)
    }

    /// The next number of a sequence that the seed fixes (splitmix64).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn fault(&self, operation: Operation, call: u64) -> Option<Fault> {
        if !self.has_faults.load(Ordering::Relaxed) {
            return None;
        }
        let faults = self
            .faults
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let hit = |fault: &&Fault| {
            fault
                .applies_to()
                .is_some_and(|(wanted, nth)| wanted == operation && nth.is_none_or(|nth| nth == call))
        };
        faults.iter().find(hit).cloned()
    }
}

impl Inner {
    /// The way of a call to the engine: takes its time, and may not arrive.
    pub(crate) async fn enter(&self, operation: Operation) -> Result<Outcome> {
        let call = 1 + self.calls.counts[operation as usize].fetch_add(1, Ordering::Relaxed);
        let delay = self
            .script
            .delays
            .get(&operation)
            .or(self.script.default_delay.as_ref());
        if let Some(delay) = delay {
            self.clock.sleep(delay.pick(self.calls.random())).await;
        }
        if self.calls.is_down() {
            return Err(unreachable_engine());
        }
        match self.calls.fault(operation, call) {
            None | Some(Fault::Lie { .. }) => Ok(Outcome::Normal),
            Some(Fault::Error { error, .. }) => Err(error),
            Some(Fault::Hang { .. }) => std::future::pending().await,
            Some(Fault::Drop { .. }) => Ok(Outcome::DropReply),
            Some(Fault::PartialCreate { .. }) => Ok(Outcome::Partial),
        }
    }
}

pub(crate) fn unreachable_engine() -> DriverError {
    DriverError::network("the simulated engine cannot be reached: it is down")
}
