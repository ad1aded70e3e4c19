//! The config of an image: the JSON of the OCI image specification, with the health check that Docker adds to it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use driver_types::{DriverError, HealthCheckConfig, ImportOptions, Labels, Result};
use serde::{Deserialize, Serialize};

use crate::spec::ImageSpec;

/// What an image is: layers, and defaults for its containers. Engines write `null` for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    config: Option<Defaults>,
    rootfs: RootFs,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Defaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<HealthCheck>,
}

/// Times are nanoseconds; 0 means the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthCheck {
    test: Option<Vec<String>>,
    interval: u64,
    timeout: u64,
    start_period: u64,
    retries: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    /// The digests of the layers, the lowest first.
    diff_ids: Vec<String>,
}

const NANOS: u64 = 1_000_000;

impl ImageConfig {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| DriverError::file_system(format!("the config of the image is broken: {error}")))
    }

    /// The config of a new image, made now for this machine.
    pub(super) fn new(spec: &ImageSpec, digests: &[&str]) -> Self {
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        Self {
            created: Some(humantime::format_rfc3339_millis(SystemTime::now()).to_string()),
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            config: Some(Defaults {
                env: some(&spec.env),
                entrypoint: some(&spec.entrypoint),
                cmd: some(&spec.command),
                working_dir: spec.working_dir.clone(),
                labels: (!spec.labels.is_empty()).then(|| spec.labels.clone()),
                stop_signal: spec.stop_signal.map(|signal| signal.to_string()),
                healthcheck: spec.healthcheck.as_ref().map(HealthCheck::from),
            }),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: digests.iter().map(|digest| format!("sha256:{digest}")).collect(),
            },
        }
    }

    pub(super) fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| DriverError::internal(format!("the config of an image is no JSON: {error}")))
    }

    /// The digests of its layers without `sha256:`, the lowest first.
    ///
    /// # Errors
    ///
    /// Another kind of digest, or none: it becomes a path.
    pub(super) fn digests(&self) -> Result<Vec<&str>> {
        let digests = self.rootfs.diff_ids.iter();
        digests.map(|digest| hex_digest(digest)).collect()
    }

    /// What a container keeps of it.
    pub(super) fn spec(&self, id: &str, place: impl Fn(&str) -> PathBuf) -> Result<ImageSpec> {
        let defaults = self.config.clone().unwrap_or_default();
        let mut layers: Vec<&str> = Vec::new();
        for digest in self.digests()?.into_iter().rev() {
            // An overlay does not take a directory twice, and below itself it would not be seen.
            if !layers.contains(&digest) {
                layers.push(digest);
            }
        }
        let healthcheck = defaults.healthcheck.and_then(|check| check.config());
        Ok(ImageSpec {
            id: Some(id.to_owned()),
            layers: layers
                .into_iter()
                .map(|digest| place(digest).to_string_lossy().into_owned())
                .collect(),
            host_paths: Vec::new(),
            entrypoint: defaults.entrypoint.unwrap_or_default(),
            command: defaults.cmd.unwrap_or_default(),
            env: defaults.env.unwrap_or_default(),
            working_dir: defaults.working_dir.filter(|path| !path.is_empty()),
            labels: defaults.labels.unwrap_or_default(),
            healthcheck,
            stop_signal: defaults.stop_signal.and_then(|signal| signal.parse().ok()),
        })
    }

    pub(super) fn labels(&self) -> Labels {
        let defaults = self.config.as_ref();
        defaults
            .and_then(|defaults| defaults.labels.clone())
            .unwrap_or_default()
    }

    /// When it was made, in epoch milliseconds, if it says so.
    pub(super) fn created_at(&self) -> Option<u64> {
        let created = self.created.as_deref()?;
        millis(humantime::parse_rfc3339(created).ok()?)
    }
}

impl HealthCheck {
    /// `None`: the image has none, or inherits one that it does not have.
    fn config(self) -> Option<HealthCheckConfig> {
        let test = self.test.filter(|test| !test.is_empty())?;
        let default = HealthCheckConfig::command(Vec::<String>::new());
        let or = |nanos: u64, default: u64| if nanos == 0 { default } else { nanos / NANOS };
        Some(HealthCheckConfig {
            test,
            interval_ms: or(self.interval, default.interval_ms),
            timeout_ms: or(self.timeout, default.timeout_ms),
            retries: if self.retries == 0 {
                default.retries
            } else {
                self.retries
            },
            start_period_ms: self.start_period / NANOS,
        })
    }
}

impl From<&HealthCheckConfig> for HealthCheck {
    fn from(check: &HealthCheckConfig) -> Self {
        Self {
            test: Some(check.test.clone()),
            interval: check.interval_ms.saturating_mul(NANOS),
            timeout: check.timeout_ms.saturating_mul(NANOS),
            start_period: check.start_period_ms.saturating_mul(NANOS),
            retries: check.retries,
        }
    }
}

/// The defaults that an import gives to an image.
pub(super) fn defaults_of(options: &ImportOptions) -> ImageSpec {
    ImageSpec {
        entrypoint: options.entrypoint.clone(),
        command: options.command.clone(),
        env: options
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        working_dir: options.working_dir.clone(),
        labels: options.labels.clone(),
        ..ImageSpec::default()
    }
}

/// The hexadecimal digits of a digest `sha256:...`.
pub(super) fn hex_digest(digest: &str) -> Result<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match digest.strip_prefix("sha256:") {
        Some(digits) if digits.len() == 64 && digits.bytes().all(is_digit) => Ok(digits),
        _ => Err(DriverError::file_system(format!(
            "{:.80} is no digest that can be checked; those of images are sha256: and 64 hexadecimal digits",
            digest.escape_debug().to_string()
        ))),
    }
}

/// This machine's architecture, as the OCI names it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

pub(super) fn millis(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}
