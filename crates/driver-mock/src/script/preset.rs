//! Scripts for well-known purposes.

use super::{Capacity, Delay, Script};
use crate::Profile;

impl Script {
    /// The numbers of the mock drivers of the TypeScript package `@openagent/driver-interface` 1.0.0: a CPU ceiling of
    /// 4 (docker) or 2 cores (local), endpoint ports from 8080 or 8081, at least 5000 or 8000 ms of grace for a stop,
    /// and 100-200 or 200-300 ms for each call that changes something.
    pub fn original(profile: Profile) -> Self {
        let (cpu, port, grace, delay) = match profile {
            Profile::Docker => (4.0, 8080, 5000, Delay::between(100, 200)),
            Profile::Local => (2.0, 8081, 8000, Delay::between(200, 300)),
        };
        let mutating = driver_types::Operation::ALL
            .iter()
            .filter(|operation| operation.info().mutating);
        Self {
            capacity: Capacity {
                cpu,
                ..Capacity::default()
            },
            first_port: Some(port),
            min_stop_timeout_ms: Some(grace),
            delays: mutating.map(|operation| (*operation, delay)).collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Profile::Docker, 4.0, 8080, 5000, 100, 200)]
    #[case(Profile::Local, 2.0, 8081, 8000, 200, 300)]
    fn the_original_numbers(
        #[case] profile: Profile,
        #[case] cpu: f64,
        #[case] port: u16,
        #[case] grace: u64,
        #[case] min: u64,
        #[case] max: u64,
    ) {
        let script = Script::original(profile);
        assert_eq!(script.capacity.cpu, cpu);
        assert_eq!(script.first_port, Some(port));
        assert_eq!(script.min_stop_timeout_ms, Some(grace));
        assert_eq!(
            script.delays[&driver_types::Operation::StartContainer],
            Delay::between(min, max)
        );
        assert!(!script.delays.contains_key(&driver_types::Operation::GetContainer));
    }
}
