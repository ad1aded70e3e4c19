//! How a process ended.

/// Exit code, and the signal if one ended it; the code is then 128 + number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) code: u8,
    pub(crate) signal: Option<u8>,
}

impl Ending {
    /// From what the kernel tells of a process that was waited for.
    pub(crate) fn of(exit_status: Option<i32>, signal: Option<i32>) -> Self {
        match signal.and_then(|signal| u8::try_from(signal).ok()) {
            Some(signal) => Self {
                code: 128_u8.saturating_add(signal),
                signal: Some(signal),
            },
            None => Self {
                code: exit_status.unwrap_or(0) as u8,
                signal: None,
            },
        }
    }

    /// From the status of wait(2).
    pub(crate) fn of_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::of(Some((status >> 8) & 0xff), None),
            signal => Self::of(None, Some(signal)),
        }
    }

    /// For the way from init to shim.
    pub(crate) fn to_bytes(self) -> [u8; 2] {
        [self.code, self.signal.unwrap_or(0)]
    }

    /// What init wrote.
    pub(crate) fn from_bytes([code, signal]: [u8; 2]) -> Self {
        Self {
            code,
            signal: (signal != 0).then_some(signal),
        }
    }
}
