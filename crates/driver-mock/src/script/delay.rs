//! How long a simulated operation takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time between two bounds, in milliseconds, drawn evenly from the world's seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delay {
    /// The least.
    pub min_ms: u64,
    /// The most; less than the least counts as the least.
    pub max_ms: u64,
}

impl Delay {
    /// Always this long.
    pub const fn fixed(ms: u64) -> Self {
        Self {
            min_ms: ms,
            max_ms: ms,
        }
    }

    /// Between these two.
    pub const fn between(min_ms: u64, max_ms: u64) -> Self {
        Self { min_ms, max_ms }
    }

    /// The delay that belongs to a random number.
    pub(crate) fn pick(self, random: u64) -> Duration {
        let span = self.max_ms.saturating_sub(self.min_ms);
        Duration::from_millis(self.min_ms + random % (span + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_its_bounds_and_reaches_both() {
        let delay = Delay::between(100, 200);
        let picks: Vec<u64> = (0..101)
            .map(|random| delay.pick(random).as_millis() as u64)
            .collect();
        assert_eq!((picks.iter().min(), picks.iter().max()), (Some(&100), Some(&200)));
        assert_eq!(Delay::between(7, 3).pick(12345), Duration::from_millis(7));
    }
}
