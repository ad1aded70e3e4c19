//! What the schema validator found, in our words. No value of the input gets into a message.

use driver_errors::Violation;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use crate::report::{Show, Token};

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

/// Everything that a schema finds wrong with a document; `names` are the known field names, for suggestions.
pub(crate) fn findings(validator: &Validator, document: &Value, names: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for error in validator.iter_errors(document) {
        collect(&error, names, &mut findings);
    }
    findings
}

fn collect(error: &ValidationError<'_>, names: &[String], findings: &mut Vec<Finding>) {
    use ValidationErrorKind as K;
    let at = error.instance_path().as_str();
    let mut add = |pointer: String, message: String, hint: Option<String>, repair| {
        let mut violation = Violation::new(pointer, message);
        violation.hint = hint;
        findings.push(Finding { violation, repair });
    };
    match error.kind() {
        K::AnyOf { context } | K::OneOfNotValid { context } => {
            alternatives(error, context, names, findings);
        }
        K::AdditionalProperties { unexpected } => {
            for name in unexpected {
                let pointer = format!("{at}/{}", Token(name));
                add(
                    pointer,
                    format!("unknown field {}", Show(name)),
                    Some(suggestion(name, names)),
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
            let (message, is_shape) = value_message(kind);
            let repair = if is_shape { Repair::Drop } else { Repair::Keep };
            add(at.to_owned(), message, None, repair);
        }
    }
}

/// The message for a keyword on a value, and whether serde would stumble over it too.
fn value_message(kind: &ValidationErrorKind) -> (String, bool) {
    use ValidationErrorKind as K;
    match kind {
        K::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            (one_of(options.iter()), true)
        }
        K::Constant { expected_value } => (one_of(std::iter::once(&**expected_value)), true),
        K::Minimum { limit } => (format!("must be at least {limit}"), false),
        K::Maximum { limit } => (format!("must be at most {limit}"), false),
        K::MinLength { limit } => (format!("must have at least {limit} characters"), false),
        K::MaxLength { limit } => (format!("must have at most {limit} characters"), false),
        K::MinItems { limit } => (format!("must have at least {limit} items"), false),
        K::MaxItems { limit } => (format!("must have at most {limit} items"), false),
        K::Pattern { pattern } => (format!("must match {pattern}"), false),
        other => (format!("breaks the rule `{}`", other.keyword()), true),
    }
}

/// Reports the alternative that the value was meant to be: the first that does not already fail by its type. Where
/// all are constants, the choice is told instead.
fn alternatives(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    names: &[String],
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
        let violation = Violation::new(here.as_str(), one_of(constants.into_iter()));
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
        collect(inner, names, findings);
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
        .map(|known| (distance(&wanted, &plain(known)), known))
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
