//! Any text as a container config: it never panics, both ways of reading agree, what is valid stays valid over the
//! wire, and no value of `env` gets into a message.
//!
//! The same as properties on stable: `crates/driver-validation/tests/properties.rs`.

#![no_main]

use driver_types::ContainerConfig;
use driver_validation::{matches_config_schema, validate_config_json, validate_config_value};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let by_text = validate_config_json(text);
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        assert!(by_text.is_err());
        return;
    };
    assert_eq!(by_text, validate_config_value(&value));
    match by_text {
        Ok(config) => {
            assert!(matches_config_schema(&value));
            let config: ContainerConfig = config.into_inner();
            let again = serde_json::to_string(&config).expect("a config serialises");
            assert_eq!(
                validate_config_json(&again).expect("it stays valid").into_inner(),
                config
            );
        }
        Err(error) => {
            assert!(!error.violation_list().is_empty());
            let message = error.to_string();
            let env = value.get("env").and_then(Value::as_object);
            for secret in env.into_iter().flatten().filter_map(|(_, value)| value.as_str()) {
                // Short values stand in messages by chance; what is in the text twice may be a name as well.
                if secret.len() > 16 && text.matches(secret).count() == 1 {
                    assert!(!message.contains(secret), "a value of env is in a message");
                }
            }
        }
    }
});
