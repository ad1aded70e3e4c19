//! JSON Schemas compiled for validation, once a type.

use std::collections::BTreeSet;

use jsonschema::Validator;
use schemars::JsonSchema;
use serde_json::Value;

use crate::schemas::{Form, generate};

/// A schema ready for use.
#[derive(Debug)]
pub struct CompiledSchema {
    /// The validator. It fetches nothing, from the network or the disk.
    pub(crate) validator: Validator,
    /// The schema itself.
    pub(crate) schema: Value,
    /// All field names that the schema knows.
    pub(crate) names: Vec<String>,
}

/// Compiles the input form of a type.
pub(crate) fn input_schema<T: JsonSchema>() -> CompiledSchema {
    let schema = generate::<T>(Form::Input).to_value();
    let mut names = BTreeSet::new();
    collect_names(&schema, &mut names);
    CompiledSchema {
        validator: compile(&schema),
        names: names.into_iter().collect(),
        schema,
    }
}

/// Compiles a schema of ours.
pub(crate) fn compile(schema: &Value) -> Validator {
    jsonschema::draft202012::options()
        .offline()
        .build(schema)
        .expect("a generated schema compiles")
}

fn collect_names(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                names.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect_names(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}
