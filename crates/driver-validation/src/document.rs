//! From a JSON document to a checked type, or to all violations at once.

use std::collections::HashSet;

use driver_errors::{DriverError, Result, Violation};
use driver_types::ContainerConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ValidatedConfig;
use crate::report::{MAX_VIOLATIONS, Report};
use crate::schema_errors::{Finding, Repair, findings};
use crate::strict::Strict;

/// The largest document in bytes that is looked at.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// An input of the contract that can be read from JSON. Implemented for every input type; not for others.
pub trait Input: DeserializeOwned + sealed::Rules {}

pub(crate) mod sealed {
    /// What reading an input needs.
    pub trait Rules {
        /// The JSON Schema of the input form.
        fn schema() -> &'static crate::compiled::CompiledSchema;
        /// The broken rules that a schema cannot tell.
        fn broken_rules(&self) -> Vec<driver_errors::Violation>;
    }
}

/// Reads and validates the JSON text of a container config.
///
/// Where a field is given twice the last one counts, as with `JSON.parse`. A number without a fractional part is a
/// whole number however it is written, as JSON Schema says.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` with all violations (the first thousand), each with a JSON pointer. Values of `env` are never
/// in a message.
///
/// ```
/// let config = driver_validation::validate_config_json(r#"{"sessionId": "s1", "image": "alpine:3.20"}"#)?;
/// assert_eq!(config.resources.memory, 512);
///
/// let error = driver_validation::validate_config_json(r#"{"session_id": "s1", "image": "alpine"}"#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Configuration error: /sessionId: is required (add it); \
///      /session_id: unknown field `session_id` (did you mean `sessionId`?)",
/// );
/// # Ok::<(), driver_errors::DriverError>(())
/// ```
pub fn validate_config_json(text: &str) -> Result<ValidatedConfig> {
    check_size(text)?;
    // The rules cover the whole schema, so valid text need not go through it. What fails is read again, slowly, to
    // find everything that is wrong.
    if let Some(config) = read_directly(text)
        && let Ok(config) = ValidatedConfig::new(config)
    {
        return Ok(config);
    }
    validate_config_value(&parse(text)?)
}

/// Reads and validates a container config that is JSON already.
///
/// # Errors
///
/// As of [`validate_config_json`].
pub fn validate_config_value(value: &Value) -> Result<ValidatedConfig> {
    ValidatedConfig::new(validate_value(value)?)
}

/// Whether a document fits the JSON Schema of a container config. The rules that a schema cannot tell are not checked.
pub fn matches_config_schema(value: &Value) -> bool {
    <ContainerConfig as sealed::Rules>::schema()
        .validator
        .is_valid(value)
}

/// Reads and validates the JSON text of any input type.
///
/// # Errors
///
/// As of [`validate_config_json`].
///
/// ```
/// use driver_types::StopOptions;
///
/// let options: StopOptions = driver_validation::validate_json(r#"{"timeout": 500, "signal": "SIGINT"}"#)?;
/// assert_eq!(options.timeout, Some(500));
/// assert!(driver_validation::validate_json::<StopOptions>(r#"{"timeout": -1}"#).is_err());
/// # Ok::<(), driver_errors::DriverError>(())
/// ```
pub fn validate_json<T: Input>(text: &str) -> Result<T> {
    check_size(text)?;
    validate_value(&parse(text)?)
}

/// Reads and validates any input type that is JSON already.
///
/// # Errors
///
/// As of [`validate_config_json`].
pub fn validate_value<T: Input>(value: &Value) -> Result<T> {
    if T::schema().validator.is_valid(value)
        && let Some(input) = read::<T>(value)
        && input.broken_rules().is_empty()
    {
        return Ok(input);
    }
    Err(DriverError::violations(all_violations::<T>(value)))
}

fn check_size(text: &str) -> Result<()> {
    if text.len() <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let mut report = Report::default();
    let message = format!(
        "the document has {} bytes, more than {MAX_DOCUMENT_BYTES}",
        text.len()
    );
    report.add(format_args!(""), message, "pass large data as a file");
    report.finish(())
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        // Errors of the syntax only: they tell the place and no value.
        DriverError::violations(vec![Violation::new("", format!("is not JSON: {error}"))])
    })
}

fn read_directly(text: &str) -> Option<ContainerConfig> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let config = ContainerConfig::deserialize(Strict(&mut deserializer)).ok()?;
    deserializer.end().ok().map(|()| config)
}

/// Reads a type whose schema the value has passed; serde wants whole numbers without a fraction.
fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok().or_else(|| {
        let mut value = value.clone();
        without_zero_fractions(&mut value);
        serde_json::from_value(value).ok()
    })
}

/// Turns `512.0` into `512`, as JSON Schema reads it.
fn without_zero_fractions(value: &mut Value) {
    const MAX_SAFE: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() <= MAX_SAFE);
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_zero_fractions),
        Value::Object(members) => members.values_mut().for_each(without_zero_fractions),
        _ => {}
    }
}

/// What the schema finds, and what the rules find in all that can be read.
fn all_violations<T: Input>(value: &Value) -> Vec<Violation> {
    let found = findings(T::schema(), value);
    let by_rules = salvage::<T>(value)
        .map(|input| input.broken_rules())
        .unwrap_or_default();
    let ruled: HashSet<_> = by_rules.iter().map(|rule| rule.pointer.as_str()).collect();
    // The rules know the way out, so where both complain about a value, theirs is kept.
    let is_ruled = |finding: &Finding| {
        matches!(finding.repair, Repair::Keep) && ruled.contains(finding.violation.pointer.as_str())
    };
    let mut violations: Vec<_> = found
        .into_iter()
        .filter(|finding| !is_ruled(finding))
        .map(|finding| finding.violation)
        .collect();
    violations.extend(by_rules);
    violations.sort();
    violations.dedup();
    violations.truncate(MAX_VIOLATIONS);
    if violations.is_empty() {
        violations.push(Violation::new("", "cannot be read").with_hint("compare it with the JSON Schema"));
    }
    violations
}

/// Reads what is readable: broken parts are left out, missing ones supplied. `None` where too little is left.
fn salvage<T: Input>(value: &Value) -> Option<T> {
    const ROUNDS: usize = 4;
    let mut value = value.clone();
    for round in 0..ROUNDS {
        let mut broken: Vec<Finding> = findings(T::schema(), &value);
        // First what has the wrong shape; if the rest cannot be read either, then all that is wrong.
        broken.retain(|finding| round > 1 || !matches!(finding.repair, Repair::Keep));
        if broken.is_empty()
            && let Some(input) = read(&value)
        {
            return Some(input);
        }
        for finding in broken {
            repair(&mut value, &finding);
        }
    }
    read(&value)
}

fn repair(document: &mut Value, finding: &Finding) {
    let pointer = finding.violation.pointer.as_str();
    let Some((parent, _)) = pointer.rsplit_once('/') else {
        return;
    };
    match (&finding.repair, placeholder(pointer)) {
        (Repair::Remove, _) => remove(document, pointer),
        (_, Some(value)) => {
            if let Some(object) = document.as_object_mut() {
                object.insert(pointer[1..].to_owned(), value);
            }
        }
        (Repair::Supply, None) => remove(document, parent),
        (Repair::Drop | Repair::Keep, None) => remove(document, pointer),
    }
}

/// Values of required fields, and one of `network` that raises no rule of its own.
fn placeholder(pointer: &str) -> Option<Value> {
    match pointer {
        "/sessionId" | "/image" | "/reference" | "/name" => Some("placeholder".into()),
        "/command" => Some(vec!["placeholder"].into()),
        "/network" => Some(ContainerConfig::NETWORK_DEFAULT.into()),
        _ => None,
    }
}

/// Removes the value at a pointer; a value in an array takes the whole array with it, so that no index shifts.
fn remove(document: &mut Value, pointer: &str) {
    let mut pointer = pointer;
    while let Some((parent, token)) = pointer.rsplit_once('/') {
        let name = token.replace("~1", "/").replace("~0", "~");
        match document.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.remove(&name);
                return;
            }
            Some(_) => pointer = parent,
            None => return,
        }
    }
}
