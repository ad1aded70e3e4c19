//! What the schema validator found, in our words. No value of the input gets into a message.

use driver_errors::Violation;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::compiled::CompiledSchema;
use crate::report::{MAX_VIOLATIONS, Show, Token};

/// A broken rule of a schema, and what must go for the rest of the document to be readable.
pub(crate) struct Finding {
    pub(crate) violation: Violation,
    pub(crate) repair: Repair,
}

/// How to get a broken part out of the way.
pub(crate) enum Repair {
    /// The field at the pointer is unknown: leave it out.
    Remove,
    /// The value at the pointer has the wrong shape: leave it out, or put a neutral one in its place.
    Drop,
    /// The member at the pointer is missing.
    Supply,
    /// The value at the pointer has the right shape and a wrong value: the rules can judge it.
    Keep,
}

/// Everything that a schema finds wrong with a document.
pub(crate) fn findings(schema: &CompiledSchema, document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for error in schema.validator.iter_errors(document) {
        collect(&error, schema, &mut findings);
        if findings.len() >= MAX_VIOLATIONS {
            break;
        }
    }
    findings
}

fn collect(error: &ValidationError<'_>, schema: &CompiledSchema, findings: &mut Vec<Finding>) {
    use ValidationErrorKind as K;
    let at = error.instance_path().as_str();
    let mut add = |pointer: String, message: String, hint: Option<String>, repair| {
        let mut violation = Violation::new(pointer, message);
        violation.hint = hint;
        findings.push(Finding { violation, repair });
    };
    match error.kind() {
        K::AnyOf { context } | K::OneOfNotValid { context } => {
            alternatives(error, context, schema, findings);
        }
        K::AdditionalProperties { unexpected } => {
            for name in unexpected.iter().take(MAX_VIOLATIONS) {
                let pointer = format!("{at}/{}", Token(name));
                add(
                    pointer,
                    format!("unknown field {}", Show(name)),
                    Some(suggestion(name, &schema.names)),
                    Repair::Remove,
                );
            }
        }
        K::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            add(
                format!("{at}/{}", Token(name)),
                "is required".to_owned(),
                Some("add it".to_owned()),
                Repair::Supply,
            );
        }
        K::Type { kind } => {
            let found = type_name(error.instance());
            add(
                at.to_owned(),
                format!("must be {}, not {found}", expected(kind)),
                None,
                Repair::Drop,
            );
        }
        kind => {
            let (message, is_shape) = value_message(kind, shown(error.instance(), at).as_deref());
            let repair = if is_shape { Repair::Drop } else { Repair::Keep };
            let hint = matches!(kind, K::Pattern { .. })
                .then(|| description(error, schema))
                .flatten();
            add(at.to_owned(), message, hint, repair);
        }
    }
}

/// The value for a message; not that of `base64`, which belongs to the workload.
fn shown(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::String(text) if !at.ends_with("/base64") => Some(Show(text).to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The description of the schema whose keyword failed.
fn description(error: &ValidationError<'_>, schema: &CompiledSchema) -> Option<String> {
    let (place, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema
        .schema
        .pointer(place)?
        .get("description")?
        .as_str()
        .map(str::to_owned)
}

/// The message for a keyword on a value, and whether serde would stumble over it too.
fn value_message(kind: &ValidationErrorKind, value: Option<&str>) -> (String, bool) {
    use ValidationErrorKind as K;
    let named = |message: String| match value {
        Some(value) => format!("{value} {message}"),
        None => message,
    };
    match kind {
        K::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            (named(one_of(options.iter())), true)
        }
        K::Constant { expected_value } => (named(one_of(std::iter::once(&**expected_value))), true),
        K::Minimum { limit } => (named(format!("must be at least {limit}")), false),
        K::Maximum { limit } => (named(format!("must be at most {limit}")), false),
        K::MinLength { limit } => (format!("must have at least {limit} characters"), false),
        K::MaxLength { limit } => (format!("must have at most {limit} characters"), false),
        K::MinItems { limit } => (format!("must have at least {limit} items"), false),
        K::MaxItems { limit } => (format!("must have at most {limit} items"), false),
        K::Pattern { .. } => (named("must have another form".to_owned()), false),
        other => (format!("breaks the rule `{}`", other.keyword()), true),
    }
}

/// Reports the alternative that the value was meant to be: the first that does not already fail by its type. Where
/// all are constants, the choice is told instead.
fn alternatives(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    schema: &CompiledSchema,
    findings: &mut Vec<Finding>,
) {
    let here = error.instance_path();
    let fails_by_type = |branch: &&Vec<ValidationError<'static>>| {
        branch.iter().any(|inner| {
            matches!(inner.kind(), ValidationErrorKind::Type { .. }) && inner.instance_path() == here
        })
    };
    let constants: Vec<&Value> = context.iter().flatten().filter_map(constant).collect();
    if constants.len() >= context.len() && !error.instance().is_object() {
        let violation = Violation::new(
            here.as_str(),
            match shown(error.instance(), here.as_str()) {
                Some(value) => format!("{value} {}", one_of(constants.into_iter())),
                None => one_of(constants.into_iter()),
            },
        );
        findings.push(Finding {
            violation,
            repair: Repair::Drop,
        });
        return;
    }
    let branch = context
        .iter()
        .find(|branch| !fails_by_type(branch))
        .or(context.first());
    for inner in branch.into_iter().flatten() {
        collect(inner, schema, findings);
    }
}

fn constant<'a>(error: &'a ValidationError<'static>) -> Option<&'a Value> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => Some(expected_value),
        _ => None,
    }
}

fn one_of<'a>(options: impl Iterator<Item = &'a Value>) -> String {
    let names: Vec<_> = options
        .filter(|option| !option.is_null())
        .map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned))
        .map(|name| format!("`{name}`"))
        .collect();
    match names.as_slice() {
        [name] => format!("must be {name}"),
        names => format!("must be one of {}", names.join(", ")),
    }
}

fn expected(kind: &TypeKind) -> String {
    let types: Vec<JsonType> = match kind {
        TypeKind::Single(single) => vec![*single],
        TypeKind::Multiple(set) => set.iter().collect(),
    };
    let names: Vec<_> = types
        .into_iter()
        .filter(|t| *t != JsonType::Null)
        .map(with_article)
        .collect();
    if names.is_empty() {
        "null".to_owned()
    } else {
        names.join(" or ")
    }
}

fn with_article(json_type: JsonType) -> &'static str {
    match json_type {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "an array",
        JsonType::Object => "an object",
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The known name that was probably meant.
fn suggestion(name: &str, names: &[String]) -> String {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let wanted = plain(name);
    let nearest = names
        .iter()
        .map(|known| {
            // `mem` for `memory` counts as near.
            let is_short = wanted.len() >= 3 && plain(known).starts_with(&wanted);
            let distance = distance(&wanted, &plain(known));
            (if is_short { distance.min(2) } else { distance }, known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len());
    match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => "leave it out".to_owned(),
    }
}

/// Levenshtein distance; anything above 2 is reported as 3.
fn distance(a: &str, b: &str) -> usize {
    const FAR: usize = 3;
    if a.len().abs_diff(b.len()) >= FAR || a.len() > 64 {
        return FAR;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()].min(FAR)
}
