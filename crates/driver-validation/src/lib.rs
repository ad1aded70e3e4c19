//! JSON Schemas and validation of every input of the container driver contract.
mod capability;
mod config;
mod image;
mod inputs;
mod mounts;
mod ports;
mod report;
mod resources;
mod sanitize;
mod security;
mod text;
mod validated;

pub use capability::{
    Requirement, check_capabilities, check_exec_capabilities, check_network_capabilities,
    check_volume_capabilities, plan_items, requirements,
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
pub use text::is_identifier;
pub use validated::ValidatedConfig;
