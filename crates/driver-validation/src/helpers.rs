//! The configuration helpers of the TypeScript package, under their names in Rust.

use driver_errors::Result;
use driver_types::{ContainerConfig, ResourceLimits, SecurityOptions};
use serde_json::Value;

use crate::{validate_config, validate_config_value, validate_value};

/// A whole config out of a partial one (`createDriverConfig`): what is absent gets its secure default. The result is
/// valid and in normal form.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations.
///
/// ```
/// use serde_json::json;
///
/// let config = driver_validation::create_driver_config(&json!({"sessionId": "s1", "image": "alpine"}))?;
/// assert!(config.security.read_only);
/// # Ok::<(), driver_errors::DriverError>(())
/// ```
pub fn create_driver_config(partial: &Value) -> Result<ContainerConfig> {
    validate_config_value(partial).map(crate::ValidatedConfig::into_inner)
}

/// Whole resource limits out of partial ones (`createResourceLimits`).
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations.
pub fn create_resource_limits(partial: &Value) -> Result<ResourceLimits> {
    validate_value(partial)
}

/// Whole security options out of partial ones (`createSecurityOptions`).
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations.
pub fn create_security_options(partial: &Value) -> Result<SecurityOptions> {
    validate_value(partial)
}

/// Whether a config is valid (`validateContainerConfig`); [`validate_config`] also gives the proof of it.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations.
pub fn validate_container_config(config: &ContainerConfig) -> Result<()> {
    validate_config(config).map(drop)
}
