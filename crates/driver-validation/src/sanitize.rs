//! Making valid names, paths and labels out of any text.
//!
//! The result always passes validation. Different texts may give the same result: add something unique where that
//! matters. A text that is valid already stays as it is.

use driver_types::Labels;
use driver_types::labels::PREFIX;

use crate::text::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_NAME, MAX_PATH, is_identifier};

/// A valid name of a container, session, volume or network: 2 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter
/// or digit. Other characters become `-`; what cannot stand first is left out.
///
/// ```
/// assert_eq!(driver_validation::sanitize_name("my job #7"), "my-job--7");
/// assert_eq!(driver_validation::sanitize_name(""), "x0");
/// ```
pub fn sanitize_name(text: &str) -> String {
    if text.len() >= 2 && is_identifier(text) {
        return text.to_owned();
    }
    let replaced = text.chars().map(|c| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    });
    let mut name: String = replaced
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(MAX_NAME)
        .collect();
    match name.len() {
        0 => name.push_str("x0"),
        1 => name.push('0'),
        _ => {}
    }
    name
}

/// A valid host name: 1 to 63 of `A-Z a-z 0-9 -`, not `-` first or last. Other characters become `-`.
pub fn sanitize_hostname(text: &str) -> String {
    let dashed: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .skip_while(|c| *c == '-')
        .take(63)
        .collect();
    match dashed.trim_end_matches('-') {
        "" => "x".to_owned(),
        name => name.to_owned(),
    }
}

/// An absolute, normalised path: `.`, `..` and empty parts are resolved as at the root of a file system, NUL bytes are
/// left out, and parts beyond 4096 characters are cut off. Whether a mount may go there is another question.
///
/// ```
/// assert_eq!(driver_validation::sanitize_path("data/./x/../y/"), "/data/y");
/// assert_eq!(driver_validation::sanitize_path("../.."), "/");
/// ```
pub fn sanitize_path(text: &str) -> String {
    let text = text.replace('\0', "");
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut path = String::new();
    let mut chars = 0;
    for part in parts {
        chars += 1 + part.chars().count();
        if chars > MAX_PATH {
            break;
        }
        path = path + "/" + part;
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

/// A valid label key: 1 to 256 bytes without NUL and without the drivers' own prefix.
pub fn sanitize_label_key(text: &str) -> String {
    let mut key = text.replace('\0', "");
    while let Some(rest) = key.strip_prefix(PREFIX) {
        key = rest.to_owned();
    }
    match cut(&key, MAX_LABEL_KEY) {
        "" => "label".to_owned(),
        key => key.to_owned(),
    }
}

/// A valid label value: up to 4096 bytes without NUL.
pub fn sanitize_label_value(text: &str) -> String {
    cut(&text.replace('\0', ""), MAX_LABEL_VALUE).to_owned()
}

/// Valid labels. Where two keys become one, the value of the last one in order stays.
pub fn sanitize_labels(labels: &Labels) -> Labels {
    labels
        .iter()
        .map(|(key, value)| (sanitize_label_key(key), sanitize_label_value(value)))
        .collect()
}

/// The longest beginning of `text` that has at most `max` bytes and whole characters.
fn cut(text: &str, max: usize) -> &str {
    let end = text
        .char_indices()
        .map(|(index, c)| index + c.len_utf8())
        .take_while(|end| *end <= max)
        .last();
    &text[..end.unwrap_or(0)]
}
