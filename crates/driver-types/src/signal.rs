//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use driver_errors::{DriverError, Violation};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A Linux signal, 1 to 64. The wire form is its name (`SIGTERM`); `TERM` and `15` are read as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// signal(7), the numbers of x86-64 and arm64.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];
const RTMIN: u8 = 34;
const MAX: u8 = 64;

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Kill; cannot be caught.
    pub const KILL: Self = Self(9);
    /// User-defined 1.
    pub const USR1: Self = Self(10);
    /// User-defined 2.
    pub const USR2: Self = Self(12);
    /// Termination: the default of `stop_container`.
    pub const TERM: Self = Self(15);

    /// The signal of this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number)
            .ok()
            .filter(|number| (1..=MAX).contains(number))
            .map(Self)
    }

    /// The signal that a shell-style exit code (128 + number) stands for, if any.
    pub fn from_exit_code(code: i32) -> Option<Self> {
        Self::from_number(code.checked_sub(128)?)
    }

    /// Its number on Linux.
    pub fn number(self) -> i32 {
        self.0.into()
    }

    /// The exit code by which shells and Docker report it: 128 + number.
    pub fn exit_code(self) -> i32 {
        128 + self.number()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signal {
    type Err = DriverError;

    /// Reads `SIGTERM`, `TERM`, `term`, `15` or `SIGRTMIN+1`.
    fn from_str(text: &str) -> Result<Self, DriverError> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let by_name = || {
            NAMES
                .iter()
                .position(|known| known.get(3..) == Some(name))
                .map(|index| index as i32 + 1)
        };
        let real_time = || {
            let offset = name.strip_prefix("RTMIN")?;
            if offset.is_empty() {
                Some(RTMIN.into())
            } else {
                Some(i32::from(RTMIN) + plain_number(offset.strip_prefix('+')?)?)
            }
        };
        let number = plain_number(text).or_else(by_name).or_else(real_time);
        number.and_then(Self::from_number).ok_or_else(|| {
            let violation = Violation::new("/signal", format!("unknown signal `{}`", text.escape_debug()))
                .with_hint("use a name such as SIGTERM or a number from 1 to 64");
            DriverError::violations(vec![violation])
        })
    }
}

/// Digits without a sign or leading zeros.
fn plain_number(text: &str) -> Option<i32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // On the wire upper case only, as the JSON Schema says.
        let signal = text
            .parse()
            .ok()
            .filter(|_| !text.bytes().any(|byte| byte.is_ascii_lowercase()));
        signal.ok_or_else(|| D::Error::custom(format!("unknown signal `{}`", text.escape_debug())))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Signal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Names without their prefix and numbers are read too; lower case only by `from_str`, for command lines.
        let names = NAMES.map(|name| &name[3..]).join("|");
        schemars::json_schema!({
            "type": "string",
            "description": "A Linux signal by name (`SIGTERM`, `TERM`) or number (`15`).",
            "examples": ["SIGTERM", "KILL", "15"],
            "pattern": format!("^((SIG)?({names}|RTMIN(\\+([0-9]|[12][0-9]|30))?)|[1-9]|[1-5][0-9]|6[0-4])$"),
        })
    }
}
