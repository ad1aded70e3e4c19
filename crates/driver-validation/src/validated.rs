//! [`ValidatedConfig`]: a config that has passed all rules.

use std::net::IpAddr;
use std::ops::Deref;

use driver_errors::{DriverError, Result};
use driver_types::ContainerConfig;

use crate::report::Report;
use crate::{ImageReference, config, security};

/// A config that has passed all rules, in normal form. Only validation makes one, so a driver whose code takes this
/// type cannot forget to validate.
///
/// Normal form, so that equal wishes compare equal:
///
/// - Linux capabilities are in upper case without `CAP_`, sorted, each once; `ALL` stands alone.
/// - The type of each volume is set.
/// - Of each port the protocol and the host address are set, and a host port of 0 is absent.
/// - IP addresses are in their shortest form.
///
/// Everything else is as the caller wrote it, `image` included.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedConfig(ContainerConfig);

impl ValidatedConfig {
    /// Validates a config that is already typed; see [`validate_config`](crate::validate_config).
    ///
    /// # Errors
    ///
    /// As of [`validate_config`](crate::validate_config).
    pub fn new(config: ContainerConfig) -> Result<Self> {
        let mut report = Report::default();
        config::check(&mut report, &config);
        report.finish(()).map(|()| Self(normalize(config)))
    }

    /// The config in normal form.
    pub fn into_inner(self) -> ContainerConfig {
        self.0
    }

    /// The parsed image reference.
    ///
    /// # Errors
    ///
    /// None in practice: validation has parsed it before.
    pub fn image_reference(&self) -> Result<ImageReference> {
        self.0.image.parse()
    }
}

impl Deref for ValidatedConfig {
    type Target = ContainerConfig;

    fn deref(&self) -> &ContainerConfig {
        &self.0
    }
}

impl TryFrom<ContainerConfig> for ValidatedConfig {
    type Error = DriverError;

    fn try_from(config: ContainerConfig) -> Result<Self> {
        Self::new(config)
    }
}

fn normalize(mut config: ContainerConfig) -> ContainerConfig {
    security::normalize(&mut config.security.capabilities);
    for volume in &mut config.volumes {
        volume.mount_type = Some(volume.effective_type());
    }
    for port in &mut config.ports {
        port.host_ip = Some(shortest(port.effective_host_ip()));
        port.protocol = Some(port.effective_protocol());
        port.host_port = port.host_port.filter(|host_port| *host_port != 0);
    }
    for address in config.dns.iter_mut().chain(config.extra_hosts.values_mut()) {
        *address = shortest(address);
    }
    config
}

fn shortest(address: &str) -> String {
    address
        .parse()
        .map_or_else(|_| address.to_owned(), |address: IpAddr| address.to_string())
}
