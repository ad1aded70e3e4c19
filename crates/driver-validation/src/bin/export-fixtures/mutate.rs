//! Breaks a valid document in every way that its schema forbids, one at a time.
//!
//! The verdict of a mutant follows from the mutation, never from a validator: so the fixtures can catch a validator
//! that is wrong.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Longer texts would only make the fixtures large.
const LONGEST: u64 = 512;

/// A changed document and whether it still fits.
pub(crate) struct Mutant {
    /// What was done, and where.
    pub(crate) name: String,
    pub(crate) fits: bool,
    pub(crate) document: Value,
}

/// The mutants of documents that fit `root`, each with the index of its document. Each place of the schema is broken
/// once, in the first document that has it.
pub(crate) fn mutants(root: &Value, documents: &[Value]) -> Vec<(usize, Mutant)> {
    let mut done = BTreeSet::new();
    let mut all = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let mut walk = Walk {
            root,
            document,
            done: &mut done,
            mutants: Vec::new(),
        };
        walk.value(root, document, "");
        all.extend(walk.mutants.into_iter().map(|mutant| (index, mutant)));
    }
    all
}

struct Walk<'a> {
    root: &'a Value,
    document: &'a Value,
    /// The places of the schema, by address.
    done: &'a mut BTreeSet<(&'static str, usize)>,
    mutants: Vec<Mutant>,
}

/// What a schema says at one place, with `$ref` followed and the matching alternative chosen.
struct Here<'a> {
    schema: &'a Map<String, Value>,
    nullable: bool,
    /// An enumeration: its schema takes no other string.
    is_choice: bool,
}

impl<'a> Walk<'a> {
    fn value(&mut self, schema: &'a Value, value: &'a Value, at: &str) {
        if !self.done.insert(("value", std::ptr::from_ref(schema).addr())) {
            return;
        }
        let Some(here) = self.here(schema) else {
            return;
        };
        self.push("null", at, here.nullable, Value::Null);
        let wrong = if value.is_array() {
            json!({"wrong": "type"})
        } else {
            json!([["wrong type"]])
        };
        self.push("wrong type", at, false, wrong);
        match value {
            Value::String(text) => self.text(&here, text, at),
            Value::Number(_) => self.number(here.schema, at),
            Value::Array(items) => self.array(here.schema, items, at),
            Value::Object(members)
                if self
                    .done
                    .insert(("object", std::ptr::from_ref(here.schema).addr())) =>
            {
                self.object(here.schema, members, at);
            }
            Value::Object(_) => {}
            Value::Bool(_) => self.push("string for a boolean", at, false, json!("true")),
            Value::Null => {}
        }
    }

    fn text(&mut self, here: &Here<'_>, text: &str, at: &str) {
        if here.is_choice {
            return self.push("unknown choice", at, false, json!("no-such-choice"));
        }
        if here.schema.contains_key("pattern") {
            self.push("breaks the pattern", at, false, json!("!"));
        }
        if let Some(max) = here
            .schema
            .get("maxLength")
            .and_then(Value::as_u64)
            .filter(|max| *max <= LONGEST)
        {
            let filler = text.chars().next().unwrap_or('a').to_string();
            self.push("too long", at, false, json!(filler.repeat(max as usize + 1)));
        }
        if here.schema.get("minLength").is_some() {
            self.push("empty", at, false, json!(""));
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, at: &str) {
        self.push("string for a number", at, false, json!("1"));
        if let Some(minimum) = schema.get("minimum").and_then(Value::as_f64) {
            let below = if minimum.fract() == 0.0 {
                json!(minimum as i64 - 1)
            } else {
                json!(minimum / 2.0)
            };
            self.push("below the minimum", at, false, below);
        }
        if let Some(maximum) = schema
            .get("maximum")
            .and_then(Value::as_f64)
            .filter(|max| *max < 9.0e15)
        {
            self.push("above the maximum", at, false, json!(maximum as i64 + 1));
        }
        if types(schema).any(|name| name == "integer") {
            self.push("fraction", at, false, json!(7.5));
        }
    }

    fn array(&mut self, schema: &'a Map<String, Value>, items: &'a [Value], at: &str) {
        if schema
            .get("minItems")
            .and_then(Value::as_u64)
            .is_some_and(|min| min > 0)
        {
            self.push("no items", at, false, json!([]));
        }
        // One item stands for all.
        if let (Some(item_schema), Some(item)) = (schema.get("items"), items.first()) {
            self.value(item_schema, item, &format!("{at}/0"));
        }
    }

    fn object(&mut self, schema: &'a Map<String, Value>, members: &'a Map<String, Value>, at: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
            let mut changed = members.clone();
            changed.insert("unknownField".to_owned(), json!(1));
            self.push("unknown field", at, false, changed.into());
        }
        for name in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let mut changed = members.clone();
            changed.shift_remove(name);
            self.push(&format!("without {name}"), at, false, changed.into());
        }
        for (name, member) in members {
            let member_schema = properties
                .and_then(|properties| properties.get(name))
                .or_else(|| {
                    schema
                        .get("additionalProperties")
                        .filter(|schema| schema.is_object())
                });
            if let Some(member_schema) = member_schema {
                self.value(
                    member_schema,
                    member,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                );
            }
        }
    }

    fn push(&mut self, what: &str, at: &str, fits: bool, value: Value) {
        let mut document = self.document.clone();
        if let Some(place) = document.pointer_mut(at) {
            *place = value;
        }
        let place = if at.is_empty() { "the document" } else { at };
        self.mutants.push(Mutant {
            name: format!("{what} at {place}"),
            fits,
            document,
        });
    }

    /// `None` where the schema says nothing, or too much to tell the verdict.
    fn here(&self, schema: &'a Value) -> Option<Here<'a>> {
        let schema = self.resolve(schema)?;
        let alternatives = schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array);
        let Some(alternatives) = alternatives else {
            let nullable = types(schema).any(|name| name == "null");
            let is_choice = schema.contains_key("enum") || schema.contains_key("const");
            return types(schema).next().map(|_| Here {
                schema,
                nullable,
                is_choice,
            });
        };
        let resolved: Vec<_> = alternatives
            .iter()
            .filter_map(|alternative| self.resolve(alternative))
            .collect();
        let is_null = |schema: &Map<String, Value>| types(schema).eq(["null"]);
        let nullable = resolved.iter().any(|schema| is_null(schema));
        let mut rest = resolved.iter().filter(|schema| !is_null(schema));
        if nullable {
            let (Some(_), None) = (rest.next(), rest.next()) else {
                return None;
            };
            let inner = alternatives
                .iter()
                .find(|schema| self.resolve(schema).is_some_and(|schema| !is_null(schema)))?;
            return self.here(inner).map(|here| Here {
                nullable: true,
                ..here
            });
        }
        if rest.all(|schema| schema.contains_key("const") || schema.contains_key("enum")) {
            return resolved.first().map(|schema| Here {
                schema,
                nullable: false,
                is_choice: true,
            });
        }
        None
    }

    fn resolve(&self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        let mut schema = schema.as_object()?;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            schema = self.root.pointer(reference.strip_prefix('#')?)?.as_object()?;
        }
        Some(schema)
    }
}

fn types(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let listed = match schema.get("type") {
        Some(Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    listed.iter().filter_map(Value::as_str)
}
