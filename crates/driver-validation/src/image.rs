//! Image references: `name[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use driver_errors::{DriverError, Violation};

use crate::report::Show;

const DOCKER_HUB: &str = "docker.io";
const MAX_REFERENCE: usize = 512;
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;
const HINT: &str = "use name[:tag][@digest], for example alpine:3.20 or ghcr.io/team/app@sha256:...";

/// An image reference, `name[:tag][@digest]`, kept as it was written.
///
/// Docker's rules for short names are in [`normalized`](Self::normalized); the raw text stays what the caller asked
/// for.
///
/// ```
/// use driver_validation::ImageReference;
///
/// let image: ImageReference = "alpine:3.20".parse()?;
/// assert_eq!(image.tag(), Some("3.20"));
/// assert_eq!(image.normalized(), "docker.io/library/alpine:3.20");
/// assert!("Alpine".parse::<ImageReference>().is_err());
/// # Ok::<(), driver_errors::DriverError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    raw: String,
    name_len: usize,
    tag_len: Option<usize>,
}

struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
}

impl ImageReference {
    /// The name: repository with its registry, if one was written.
    pub fn name(&self) -> &str {
        &self.raw[..self.name_len]
    }

    /// The tag that was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag_len
            .map(|len| &self.raw[self.name_len + 1..self.name_len + 1 + len])
    }

    /// The digest that was written, for example `sha256:...`.
    pub fn digest(&self) -> Option<&str> {
        self.raw.split_once('@').map(|(_, digest)| digest)
    }

    /// The registry, by Docker's rule: the first part if it has a dot, a colon or an upper-case letter, or is
    /// `localhost`; else `docker.io`.
    pub fn registry(&self) -> &str {
        match registry_of(self.name()) {
            (None | Some("index.docker.io"), _) => DOCKER_HUB,
            (Some(registry), _) => registry,
        }
    }

    /// The repository within the registry; official images of Docker Hub have `library/` in front.
    pub fn repository(&self) -> String {
        let (_, path) = registry_of(self.name());
        if self.registry() == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        }
    }

    /// Docker's full form: registry, repository, and the tag `latest` where neither tag nor digest was written.
    pub fn normalized(&self) -> String {
        let mut text = format!("{}/{}", self.registry(), self.repository());
        let tag = self.tag().or_else(|| self.digest().is_none().then_some("latest"));
        if let Some(tag) = tag {
            text = text + ":" + tag;
        }
        match self.digest() {
            Some(digest) => text + "@" + digest,
            None => text,
        }
    }

    /// Whether it is the id of an image rather than a name: 64 hexadecimal digits, with or without `sha256:`. Such an
    /// image is never pulled.
    pub fn is_image_id(&self) -> bool {
        let digits = self.raw.strip_prefix("sha256:").unwrap_or(&self.raw);
        is_hex(digits, 64)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.raw
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.raw)
    }
}

impl FromStr for ImageReference {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        match parse(text) {
            Ok(parts) => Ok(Self {
                raw: text.to_owned(),
                name_len: parts.name.len(),
                tag_len: parts.tag.map(str::len),
            }),
            Err(message) => Err(DriverError::violations(vec![
                Violation::new("/image", message).with_hint(HINT),
            ])),
        }
    }
}

/// What is wrong with a reference, and the way out; `None`: nothing.
pub(crate) fn problem(text: &str) -> Option<(String, &'static str)> {
    parse(text).err().map(|message| (message, HINT))
}

fn parse(text: &str) -> Result<Parts<'_>, String> {
    let broken = |why: &str| Err(format!("{} is not an image reference: {why}", Show(text)));
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > MAX_REFERENCE {
        return broken("it is too long");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to the port of the registry.
    let last_part = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last_part..].split_once(':') {
        Some((part, tag)) => (&rest[..last_part + part.len()], Some(tag)),
        None => (rest, None),
    };
    if name.len() > MAX_REPOSITORY {
        return broken("the name is too long");
    }
    let (registry, path) = registry_of(name);
    if !registry.is_none_or(is_registry) {
        return broken("the registry is not a host name");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return broken("the name has upper-case letters");
    }
    if !path.split('/').all(is_path_part) {
        return broken("the name is not made of a-z 0-9 . _ - and /");
    }
    if !tag.is_none_or(is_tag) {
        return broken("the tag is not 1 to 128 of A-Z a-z 0-9 . _ -");
    }
    if !digest.is_none_or(is_digest) {
        return broken("the digest is not sha256: and 64 hexadecimal digits");
    }
    Ok(Parts { name, tag })
}

fn registry_of(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), path)
        }
        _ => (None, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_address = || {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (host.split('.').all(crate::text::is_host_label) || is_address()) && port.is_none_or(is_port)
}

/// Runs of `a-z 0-9`, between them `.`, `_`, `__` or any number of `-`.
fn is_path_part(part: &str) -> bool {
    let is_run = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_run(*first)
        && is_run(*last)
        && bytes.split(|byte| is_run(*byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    (1..=MAX_TAG).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_digest(digest: &str) -> bool {
    [("sha256:", 64), ("sha384:", 96), ("sha512:", 128)]
        .iter()
        .any(|(prefix, len)| {
            digest
                .strip_prefix(prefix)
                .is_some_and(|digits| is_hex(digits, *len))
        })
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
