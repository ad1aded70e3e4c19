//! JSON Schemas and validation of every input of the container driver contract.
//!
//! - [`validate_config`], [`validate_config_json`] and [`validate_config_value`] make a [`ValidatedConfig`]: a type of
//!   its own, so that a driver cannot forget to validate. All violations are reported at once, each with a JSON
//!   pointer and the way out; values of `env` are in no message.
//! - The other inputs have a function each ([`validate_exec_spec`], [`validate_volume_config`], ...); from JSON they
//!   are read by [`validate_json`].
//! - [`check_capabilities`] and [`check_capacity`] compare a config with what a driver can do and has; [`plan_items`]
//!   tells the same as a plan.
//! - [`schemas`] gives the JSON Schema 2020-12 of every wire type; the program `export-schemas` writes them to files.
//! - `sanitize_*` make valid names, paths and labels out of any text.
//!
//! ```
//! use driver_types::{Capabilities, ContainerConfig};
//! use driver_validation::{Capacity, check_capabilities, check_capacity, validate_config};
//!
//! let config = validate_config(&ContainerConfig::new("session-1", "alpine:3.20"))?;
//! check_capabilities(&config, &Capabilities::all())?;
//! check_capacity(&config.resources, &Capacity { cpu: Some(2.0), ..Capacity::default() })?;
//! # Ok::<(), driver_errors::DriverError>(())
//! ```

mod capability;
mod compiled;
mod config;
mod document;
mod examples;
mod helpers;
mod image;
mod inputs;
mod mounts;
mod ports;
mod report;
mod resources;
mod rules;
mod sanitize;
mod schema_errors;
mod schemas;
mod security;
mod strict;
mod text;
mod validated;

pub use capability::{
    Requirement, check_capabilities, check_exec_capabilities, check_network_capabilities,
    check_volume_capabilities, plan_items, requirements,
};
pub use document::{
    Input, MAX_DOCUMENT_BYTES, matches_config_schema, validate_config_json, validate_config_value,
    validate_json, validate_value,
};
pub use helpers::{
    create_driver_config, create_resource_limits, create_security_options, validate_container_config,
};
pub use image::ImageReference;
pub use inputs::{
    validate_config, validate_event_filter, validate_exec_spec, validate_exec_stream_spec,
    validate_import_options, validate_log_options, validate_network_config, validate_new_image_reference,
    validate_owner, validate_path, validate_pull_request, validate_reap_policy, validate_resource_limits,
    validate_security_options, validate_stats_interval, validate_stop_options, validate_stream_log_options,
    validate_volume_config,
};
pub use resources::{Capacity, check_capacity};
pub use sanitize::{
    sanitize_hostname, sanitize_label_key, sanitize_label_value, sanitize_labels, sanitize_name,
    sanitize_path,
};
pub use schemas::{Form, NamedSchema, schemas};
pub use text::is_identifier;
pub use validated::ValidatedConfig;
