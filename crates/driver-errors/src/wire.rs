//! The wire form `{code, message, retryable, operation?, details?}`, read and written.
//!
//! `details` holds the payload of the kind, and beside it under reserved keys what only we send: `driver`,
//! `context`, `causes` and `cleanup`. Errors of the TypeScript package, which may lack `details`, are read by
//! their message form; a code that this version does not know is read as an internal error that keeps the code
//! in its context.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{DriverError, ErrorKind};

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DriverError"))]
/// Why an operation failed.
pub(crate) struct Wire {
    /// The stable code, for example `CONTAINER_NOT_FOUND`.
    code: String,
    /// The message form that belongs to the code.
    message: String,
    /// Whether the same call may succeed later.
    retryable: bool,
    /// The operation that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// The payload of the code; also `driver`, `context`, `causes` and `cleanup`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
}

impl Serialize for DriverError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let mut details = match serde_json::to_value(self.kind()).map_err(S::Error::custom)? {
            Value::Object(mut tagged) => match tagged.remove("details") {
                Some(Value::Object(payload)) => payload,
                _ => Map::new(),
            },
            _ => Map::new(),
        };
        if let Some(driver) = self.driver() {
            details.insert("driver".into(), driver.into());
        }
        let pairs = self
            .context()
            .iter()
            .map(|(key, value)| Value::from(vec![key.as_str(), value]))
            .collect::<Vec<_>>();
        if !pairs.is_empty() {
            details.insert("context".into(), pairs.into());
        }
        let causes = self.causes();
        if !causes.is_empty() {
            details.insert("causes".into(), causes.into());
        }
        if let Some(cleanup) = self.cleanup() {
            details.insert(
                "cleanup".into(),
                serde_json::to_value(cleanup).map_err(S::Error::custom)?,
            );
        }
        Wire {
            code: self.code().to_owned(),
            message: self.to_string(),
            retryable: self.is_retryable(),
            operation: self.operation().map(str::to_owned),
            details,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DriverError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire {
            code,
            message,
            retryable,
            operation,
            mut details,
        } = Wire::deserialize(deserializer)?;
        let driver = details.get("driver").and_then(Value::as_str).map(str::to_owned);
        let context: Vec<(String, String)> = read(details.remove("context")).map_err(D::Error::custom)?;
        let causes: Vec<String> = read(details.remove("causes")).map_err(D::Error::custom)?;
        let cleanup: Option<DriverError> = read(details.remove("cleanup")).map_err(D::Error::custom)?;

        let mut error = DriverError::new(read_kind(&code, &message, details)).with_retryable(retryable);
        if error.code() != code {
            error = error.with_context("code", code);
        }
        for (key, value) in context {
            error = error.with_context(key, value);
        }
        if let Some(operation) = operation {
            error = error.with_operation(operation);
        }
        if let Some(driver) = driver {
            error = error.with_driver(driver);
        }
        if let Some(cause) = Cause::chain(causes) {
            error = error.with_source(cause);
        }
        Ok(match cleanup {
            Some(cleanup) => error.with_cleanup(cleanup),
            None => error,
        })
    }
}

fn read<T: Default + serde::de::DeserializeOwned>(value: Option<Value>) -> serde_json::Result<T> {
    value.map_or_else(|| Ok(T::default()), serde_json::from_value)
}

fn read_kind(code: &str, message: &str, details: Map<String, Value>) -> ErrorKind {
    let tagged = |details| {
        serde_json::from_value(serde_json::json!({ "code": code, "details": Value::Object(details) }))
    };
    tagged(details)
        .or_else(|error| match payload_of_message(code, message) {
            Some(payload) => tagged(payload),
            None => Err(error),
        })
        .unwrap_or_else(|_| ErrorKind::Internal {
            message: message.to_owned(),
        })
}

/// Reads the payload back out of a message by the message form of its code.
fn payload_of_message(code: &str, message: &str) -> Option<Map<String, Value>> {
    let mut template = ErrorKind::TABLE.iter().find(|info| info.code == code)?.template;
    let mut rest = message;
    let mut payload = Map::new();
    while let Some((literal, tail)) = template.split_once('{') {
        rest = rest.strip_prefix(literal)?;
        let (field, tail) = tail.split_once('}')?;
        let next_literal = tail.split('{').next().unwrap_or_default();
        let end = if next_literal.is_empty() {
            rest.len()
        } else {
            rest.find(next_literal)?
        };
        let (text, tail_of_message) = rest.split_at(end);
        payload.insert(camel_case(field), field_value(field, text));
        (template, rest) = (tail, tail_of_message);
    }
    (template == rest).then_some(payload)
}

fn field_value(field: &str, text: &str) -> Value {
    match field {
        "limit" | "requested" | "ms" | "retry_after_ms" => text.parse().map_or(Value::Null, Value::Number),
        "allowed" => text.split(" or ").collect(),
        _ => text.into(),
    }
}

fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(1);
        name + &head.to_uppercase() + tail
    })
}

/// A source that came over the wire: only its text is left.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    fn chain(texts: Vec<String>) -> Option<Self> {
        texts.into_iter().rev().fold(None, |source, text| {
            Some(Self {
                text,
                source: source.map(Box::new),
            })
        })
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DriverError {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Wire::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Wire::json_schema(generator)
    }
}
