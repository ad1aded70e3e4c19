//! Rules for single texts: names, paths, argument lists, environment variables, labels, addresses, users.

use std::net::IpAddr;

use driver_types::labels::PREFIX;
use driver_types::{Env, Labels};

use crate::report::{At, Report, Show, Token};

/// The longest name in characters.
pub(crate) const MAX_NAME: usize = 128;
/// The longest path in characters.
pub(crate) const MAX_PATH: usize = 4096;
/// The longest label key in bytes.
pub(crate) const MAX_LABEL_KEY: usize = 256;
/// The longest label value in bytes.
pub(crate) const MAX_LABEL_VALUE: usize = 4096;
/// All environment variables together in bytes, each counted as the kernel does: `NAME=value` and a NUL.
pub(crate) const MAX_ENV_BYTES: usize = 1 << 20;
/// The greatest user and group id that container engines take.
const MAX_UID: u32 = i32::MAX as u32;

/// Whether `text` can be the name or id of an object: 1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or
/// digit.
///
/// Drivers use it to answer "not found" for an id that cannot exist, before it gets into a path or a query.
///
/// ```
/// assert!(driver_validation::is_identifier("session-1"));
/// assert!(!driver_validation::is_identifier("../etc"));
/// ```
pub fn is_identifier(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// A name of at least `min` characters.
pub(crate) fn name(report: &mut Report, at: At<'_>, text: &str, min: usize) {
    if is_identifier(text) && text.len() >= min {
        return;
    }
    let message = if text.is_empty() {
        "must not be empty".to_owned()
    } else if text.chars().count() > MAX_NAME {
        format!("{} is too long: {} characters", Show(text), text.chars().count())
    } else if text.len() < min {
        format!("{} is too short", Show(text))
    } else {
        format!("{} is not a valid name", Show(text))
    };
    let hint = format!("use {min} to {MAX_NAME} of A-Z a-z 0-9 . _ -, beginning with a letter or digit");
    report.add(at, message, hint);
}

/// A text without a NUL byte, which no system call could take. The value may be a secret: it is not shown.
pub(crate) fn no_nul(report: &mut Report, at: At<'_>, text: &str) {
    if text.as_bytes().contains(&0) {
        report.add(at, "contains a NUL byte", "remove it: no system call takes one");
    }
}

/// A path that begins with `/`; dot segments are allowed.
pub(crate) fn absolute_path(report: &mut Report, at: At<'_>, path: &str) {
    if !path.starts_with('/') {
        let message = format!("{} is not an absolute path", Show(path));
        report.add(at, message, "begin it with /");
    } else if path.chars().count() > MAX_PATH {
        report.add(
            at,
            "the path is too long",
            format!("use at most {MAX_PATH} characters"),
        );
    } else {
        no_nul(report, at, path);
    }
}

/// A path that begins with `/` and has no empty, `.` or `..` part and no `/` at its end.
pub(crate) fn normal_path(report: &mut Report, at: At<'_>, path: &str) -> bool {
    let is_normal = path == "/"
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(is_plain_part));
    if is_normal && path.len() <= MAX_PATH {
        no_nul(report, at, path);
        return true;
    }
    if !path.starts_with('/') || path.chars().count() > MAX_PATH {
        absolute_path(report, at, path);
        return false;
    }
    if is_normal {
        no_nul(report, at, path);
        return true;
    }
    let normal = crate::sanitize_path(path);
    report.add(
        at,
        format!("{} is not normalised", Show(path)),
        format!("use {}", Show(&normal)),
    );
    false
}

fn is_plain_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
}

/// An argument list. The program, where the list has one, must not be empty.
pub(crate) fn argv(report: &mut Report, at: At<'_>, argv: &[String], has_program: bool) {
    if has_program && argv.first().is_some_and(String::is_empty) {
        report.add(
            format_args!("{at}/0"),
            "the program must not be empty",
            "name the program to run",
        );
    }
    for (index, argument) in argv.iter().enumerate() {
        no_nul(report, format_args!("{at}/{index}"), argument);
    }
}

/// Environment variables. Their values are never shown.
pub(crate) fn env(report: &mut Report, at: At<'_>, env: &Env) {
    let mut bytes = 0;
    for (name, value) in env.iter() {
        bytes += name.len() + value.len() + 2;
        if !is_env_name(name) {
            let message = format!("{} is not a valid variable name", Show(name));
            report.add(
                format_args!("{at}/{}", Token(name)),
                message,
                "use A-Z a-z 0-9 and _, not beginning with a digit",
            );
        }
        no_nul(report, format_args!("{at}/{}", Token(name)), value);
    }
    if bytes > MAX_ENV_BYTES {
        let message = format!("the variables have {bytes} bytes, more than {MAX_ENV_BYTES}");
        report.add(
            at,
            message,
            "pass large data as a file: copy it in, or mount a volume",
        );
    }
}

fn is_env_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A caller's labels.
pub(crate) fn labels(report: &mut Report, at: At<'_>, labels: &Labels) {
    for (key, value) in labels {
        let at = format_args!("{at}/{}", Token(key));
        if key.is_empty() || key.len() > MAX_LABEL_KEY {
            let message = format!("the key has {} bytes", key.len());
            report.add(at, message, format!("use 1 to {MAX_LABEL_KEY} bytes"));
        }
        if key.starts_with(PREFIX) {
            let message = format!("the prefix `{PREFIX}` is the drivers' own");
            report.add(at, message, "choose another key");
        }
        if value.len() > MAX_LABEL_VALUE {
            let message = format!("the value has {} bytes", value.len());
            report.add(at, message, format!("use at most {MAX_LABEL_VALUE} bytes"));
        }
        no_nul(report, at, key);
        no_nul(report, at, value);
    }
}

/// An IPv4 or IPv6 address.
pub(crate) fn ip(report: &mut Report, at: At<'_>, text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("{} is not an IP address", Show(text));
        report.add(
            at,
            message,
            "use an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1",
        );
    }
    address
}

/// One label of a host name (RFC 1123).
pub(crate) fn is_host_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A host name without dots.
pub(crate) fn hostname(report: &mut Report, at: At<'_>, text: &str) {
    if !is_host_label(text) {
        let message = format!("{} is not a host name", Show(text));
        report.add(at, message, "use 1 to 63 of A-Z a-z 0-9 -, not - first or last");
    }
}

/// `user[:group]`, each a name or a number.
pub(crate) fn user(report: &mut Report, at: At<'_>, text: &str) {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if !is_user(user) || !group.is_none_or(is_user) {
        let message = format!("{} is not a user", Show(text));
        let hint = format!("use user or user:group, each a name or a number up to {MAX_UID}");
        report.add(at, message, hint);
    }
}

fn is_user(text: &str) -> bool {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.len() <= 10
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|id: u32| id <= MAX_UID);
    }
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(is_name_byte)
}

/// A whole number within its bounds.
pub(crate) fn range(report: &mut Report, at: At<'_>, value: u64, min: u64, max: u64, unit: &str) {
    if (min..=max).contains(&value) {
        return;
    }
    let space = if unit.is_empty() { "" } else { " " };
    let hint = format!("use {min} to {max}{space}{unit}");
    let side = if value < min { "small" } else { "great" };
    report.add(at, format!("{value} is too {side}"), hint);
}
