//! Bytes that are text most of the time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a process: input, output or a log frame. Binary safe.
///
/// The wire form is a JSON string where the bytes are UTF-8, else `{"base64": "..."}`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Data(pub Bytes);

impl Data {
    /// The bytes as text, with U+FFFD where they are not UTF-8.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl std::ops::Deref for Data {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Data {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

/// Shows the length only: the bytes belong to the workload and may be secrets.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Data"))]
#[serde(untagged)]
/// Bytes: text, or base64 where they are not UTF-8.
enum Wire {
    /// The bytes as UTF-8.
    #[cfg_attr(feature = "schema", schemars(title = "TextData"))]
    Text(String),
    /// The bytes in base64 (RFC 4648).
    #[cfg_attr(feature = "schema", schemars(title = "BinaryData"))]
    Binary(Binary),
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
/// Bytes that are not UTF-8.
struct Binary {
    /// The bytes in base64 (RFC 4648, padded).
    #[cfg_attr(
        feature = "schema",
        schemars(regex(
            pattern = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
        ))
    )]
    base64: String,
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Binary {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Text(text) => text.into(),
            Wire::Binary(Binary { base64 }) => STANDARD.decode(base64).map_err(D::Error::custom)?.into(),
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Data {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Wire::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Wire::json_schema(generator)
    }
}
