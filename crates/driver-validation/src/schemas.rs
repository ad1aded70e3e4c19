//! JSON Schemas (2020-12) of every wire type, in input and output form.

use std::fmt;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, RestrictFormats};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::examples::Example;

/// Which side of the wire a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// What we read: fields with a default may be absent.
    Input,
    /// What we write: fields with a default are there.
    Output,
}

impl Form {
    /// Its name in file names and ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The JSON Schema of one wire type in one form.
#[derive(Clone, Debug)]
pub struct NamedSchema {
    /// The name of the type, for example `ContainerConfig`.
    pub name: String,
    /// Which form.
    pub form: Form,
    /// The schema, with `$schema`, `$id`, `description` and `examples`.
    pub schema: Value,
}

impl NamedSchema {
    /// The name of its file, for example `container-config.input.schema.json`.
    pub fn file_name(&self) -> String {
        let mut name = String::new();
        for c in self.name.chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        format!("{name}.{}.schema.json", self.form)
    }

    /// Its `$id`.
    pub fn id(&self) -> String {
        schema_id(&self.name, self.form)
    }
}

fn schema_id(name: &str, form: Form) -> String {
    format!("urn:openagent:driver:{name}:{form}")
}

/// The schema of a type in a form: no `format` that JSON Schema does not define, so that strict validators compile it.
pub(crate) fn generate<T: JsonSchema>(form: Form) -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RestrictFormats::default());
    let settings = match form {
        Form::Input => settings.for_deserialize(),
        Form::Output => settings.for_serialize(),
    };
    let settings = settings
        .with_transform(RecursiveTransform(plain_description))
        .with_transform(RecursiveTransform(empty_defaults));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Descriptions come from doc comments: their Rust examples and links mean nothing to other languages.
fn plain_description(schema: &mut Schema) {
    let Some(description) = schema.get("description").and_then(Value::as_str) else {
        return;
    };
    let text = description.split("\n\n```").next().unwrap_or_default();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // [`name`](target) and [`name`] become `name`.
    while let Some((before, after)) = rest.split_once("[`") {
        let (name, after) = after.split_once("`]").unwrap_or((after, ""));
        let after = match after.strip_prefix('(') {
            Some(link) => link.split_once(')').map_or("", |(_, after)| after),
            None => after,
        };
        plain = plain + before + "`" + &name.replace("::", ".") + "`";
        rest = after;
    }
    plain.push_str(rest);
    schema.insert("description".to_owned(), plain.into());
}

/// Lists and maps that may be absent are empty then. serde does not write an empty one, so schemars finds no default
/// for it, and generated models would take null.
fn empty_defaults(schema: &mut Schema) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|names| names.iter().any(|other| other == name))
    };
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        let empty = match property.get("type").and_then(Value::as_str) {
            Some("array") => Value::Array(Vec::new()),
            Some("object") => Value::Object(Map::new()),
            _ => continue,
        };
        if let Some(property) = property.as_object_mut() {
            property.entry("default").or_insert(empty);
        }
    }
}

fn named<T: JsonSchema + Serialize + Example>(form: Form) -> NamedSchema {
    let name = T::schema_name().into_owned();
    let mut schema = generate::<T>(form);
    schema.insert("$id".to_owned(), schema_id(&name, form).into());
    let examples: Vec<Value> = T::examples()
        .iter()
        .map(|example| serde_json::to_value(example).expect("an example serialises"))
        .collect();
    schema.insert("examples".to_owned(), examples.into());
    // Serialising puts the keywords into schemars' readable order.
    let schema = serde_json::to_value(&schema).expect("a schema serialises");
    NamedSchema { name, form, schema }
}

macro_rules! wire_types {
    ($( $wire_type:ident )*) => {
        /// The schemas of every wire type, both forms of each, in a fixed order.
        ///
        /// ```
        /// let schemas = driver_validation::schemas();
        /// let config = schemas.iter().find(|schema| schema.name == "ContainerConfig").expect("it is there");
        /// assert_eq!(config.file_name(), "container-config.input.schema.json");
        /// ```
        pub fn schemas() -> Vec<NamedSchema> {
            vec![ $( named::<driver_types::$wire_type>(Form::Input), named::<driver_types::$wire_type>(Form::Output), )* ]
        }
    };
}

wire_types! {
    ContainerConfig ResourceLimits SecurityOptions VolumeMount TmpfsMount PortMapping HealthCheckConfig
    ContainerInstance ContainerStatus ExitInfo Enforcement ContainerFilter
    StopOptions RemoveOptions WaitCondition ShutdownMode Signal
    LogOptions LogFrame ExecSpec ExecResult ProcessFrame TerminalSize
    ContainerStats Event EventFilter DriverHealth
    VolumeConfig Volume NetworkConfig Network
    PullRequest PullProgress ImportOptions Image
    Capabilities Preflight Plan RecoveryReport ReapPolicy ReapReport
    DriverError
}
