//! Collecting violations. Pointers are formatted only when a rule is broken, so that valid input costs nothing.

use std::fmt::{self, Display};

use driver_errors::{DriverError, Result, Violation};

/// Where a rule looks: a JSON pointer that is not formatted yet.
pub(crate) type At<'a> = fmt::Arguments<'a>;

/// As many violations are reported at once; a large document could break a million rules.
pub(crate) const MAX_VIOLATIONS: usize = 1000;

/// The violations found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Adds a violation with the way out.
    pub(crate) fn add(&mut self, at: At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        if self.violations.len() == MAX_VIOLATIONS {
            return;
        }
        let violation = Violation::new(at.to_string(), message).with_hint(hint);
        self.violations.push(violation);
    }

    /// What was found, in the order of the rules.
    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    /// `value` if nothing was found, else a configuration error with everything.
    pub(crate) fn finish<T>(self, value: T) -> Result<T> {
        if self.violations.is_empty() {
            Ok(value)
        } else {
            Err(DriverError::violations(self.violations))
        }
    }
}

/// One part of a JSON pointer, escaped (RFC 6901).
pub(crate) struct Token<'a>(pub(crate) &'a str);

impl Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '~' => f.write_str("~0")?,
                '/' => f.write_str("~1")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A value of the input for a message: in backquotes, on one line, and cut when long.
pub(crate) struct Show<'a>(pub(crate) &'a str);

impl Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 64;
        let cut = self.0.char_indices().nth(MAX_CHARS).map(|(index, _)| index);
        match cut {
            Some(end) => write!(f, "`{}...`", self.0[..end].escape_debug()),
            None => write!(f, "`{}`", self.0.escape_debug()),
        }
    }
}
