//! Every kind: its message, code, retry flag and group, and its way over the wire and back.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use driver_errors::{DriverError, ErrorGroup, ErrorKind, Violation, find_driver_error, is_driver_error};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

/// One error a kind, in the order of the table, made of two texts and two numbers.
fn of_every_kind(name: &str, text: &str, number: u64, float: f64) -> Vec<DriverError> {
    vec![
        DriverError::container_not_found(name),
        DriverError::container_creation(text),
        DriverError::container_start(name, text).with_exit_code(127),
        DriverError::container_stop(name, text),
        DriverError::container_remove(name, text),
        DriverError::volume_creation(name, text),
        DriverError::volume_not_found(name),
        DriverError::volume_remove(name, text),
        DriverError::network_creation(name, text),
        DriverError::network_not_found(name),
        DriverError::network_remove(name, text),
        DriverError::driver_health(text),
        DriverError::resource_limit(name, float, number as f64),
        DriverError::authentication(text),
        DriverError::authorization(text),
        DriverError::violations(vec![
            Violation::new("/image", text).with_hint(name),
            Violation::new("", text),
        ]),
        DriverError::timeout(name, number),
        DriverError::network(text),
        DriverError::file_system(text),
        DriverError::image_not_found(name),
        DriverError::image_pull(name, text),
        DriverError::invalid_state(name, "created", ["running", "paused"]),
        DriverError::exec_start(name, text),
        DriverError::unsupported(name, text),
        DriverError::circuit_open(name, number),
        DriverError::rate_limited(name, number),
        DriverError::overloaded(name, number),
        DriverError::internal(text),
    ]
}

#[test]
fn the_list_above_has_every_kind_once() {
    let codes: Vec<_> = of_every_kind("a", "b", 1, 1.0)
        .iter()
        .map(DriverError::code)
        .collect();
    let table: Vec<_> = ErrorKind::TABLE.iter().map(|info| info.code).collect();
    assert_eq!(codes, table);
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
}

#[test]
fn every_group_has_a_kind() {
    let groups: BTreeSet<_> = ErrorKind::TABLE.iter().map(|info| info.group).collect();
    assert_eq!(groups, BTreeSet::from(ErrorGroup::ALL));
}

#[test]
fn messages_codes_flags_and_groups() {
    let lines: Vec<_> = of_every_kind("web", "it broke", 5000, 2.5)
        .iter()
        .map(|error| {
            let retry = if error.is_retryable() {
                "retryable"
            } else {
                "final"
            };
            format!("{} | {error} | {retry} | {}", error.code(), error.group())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn whole_numbers_have_no_decimal_point() {
    let error = DriverError::resource_limit("cpu", 4.0, 8.5);
    insta::assert_snapshot!(error, @"Resource limit exceeded for cpu: requested 8.5, limit 4");
}

#[test]
fn wire_form() {
    let error = DriverError::container_start("web", "no such file")
        .with_exit_code(127)
        .permanent()
        .with_operation("start_container")
        .with_driver("docker")
        .with_context("status", 400)
        .with_source("OCI runtime error")
        .with_cleanup(DriverError::container_remove("web", "busy"));
    insta::assert_json_snapshot!(error);
    insta::assert_snapshot!(error.report());
}

/// An error of the TypeScript package: no `details`, so the payload is read back out of the message.
#[test]
fn errors_without_details_are_read_by_their_message() {
    for error in of_every_kind("web", "it broke", 5000, 2.5) {
        let wire =
            json!({ "code": error.code(), "message": error.to_string(), "retryable": error.is_retryable() });
        let read: DriverError = serde_json::from_value(wire).unwrap();
        assert_eq!(read.code(), error.code(), "{read:?}");
        assert_eq!(read.to_string(), error.to_string());
        assert_eq!(read.is_retryable(), error.is_retryable());
        let payload_is_in_the_message = !matches!(
            error.kind(),
            ErrorKind::Configuration { .. } | ErrorKind::ContainerStart { .. } | ErrorKind::ExecStart { .. }
        );
        assert!(
            !payload_is_in_the_message || read.kind() == error.kind(),
            "{read:?}"
        );
    }
}

#[rstest]
#[case::unknown_code(json!({"code": "FROM_THE_FUTURE", "message": "new", "retryable": true}), "Internal error: new", true)]
#[case::other_message(json!({"code": "CONTAINER_NOT_FOUND", "message": "gone", "retryable": false}), "Internal error: gone", false)]
fn what_cannot_be_understood_is_internal_and_keeps_its_code(
    #[case] wire: serde_json::Value,
    #[case] message: &str,
    #[case] retryable: bool,
) {
    let read: DriverError = serde_json::from_value(wire.clone()).unwrap();
    assert_eq!(
        (read.to_string().as_str(), read.is_retryable()),
        (message, retryable)
    );
    assert_eq!(
        read.context(),
        [("code".to_owned(), wire["code"].as_str().unwrap().to_owned())]
    );
}

#[rstest]
#[case(json!({}))]
#[case(json!({"code": "TIMEOUT_ERROR"}))]
#[case(json!({"code": 1, "message": "x", "retryable": true}))]
#[case(json!("TIMEOUT_ERROR"))]
fn what_is_no_error_is_refused(#[case] wire: serde_json::Value) {
    assert!(serde_json::from_value::<DriverError>(wire).is_err());
}

#[derive(Debug)]
struct Wrapper(Box<dyn Error + Send + Sync>);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn a_driver_error_is_found_in_a_chain() {
    let error = DriverError::timeout("exec", 5);
    let chain = Wrapper(Box::new(Wrapper(Box::new(error.clone()))));
    assert_eq!(find_driver_error(&chain), Some(&error));
    assert!(is_driver_error(&error));
    let other = Wrapper("text".into());
    assert!(find_driver_error(&other).is_none() && !is_driver_error(&other));
}

#[test]
fn the_innermost_operation_and_driver_stay() {
    let error = DriverError::network("x")
        .with_operation("a")
        .with_operation("b")
        .with_driver("c")
        .with_driver("d");
    assert_eq!((error.operation(), error.driver()), (Some("a"), Some("c")));
    let cleanup = DriverError::internal("first");
    let error = error
        .with_cleanup(cleanup.clone())
        .with_cleanup(DriverError::internal("second"));
    assert_eq!(error.cleanup(), Some(&cleanup));
}

fn errors() -> impl Strategy<Value = DriverError> {
    let number = prop_oneof![0..10_000_u64, any::<u64>()];
    let float = prop_oneof![Just(4.0), -1e9..1e9_f64];
    let kind = (
        any::<String>(),
        any::<String>(),
        number,
        float,
        any::<prop::sample::Index>(),
    )
        .prop_map(|(name, text, number, float, index)| {
            index.get(&of_every_kind(&name, &text, number, float)).clone()
        });
    let extras = (
        prop::option::of(any::<bool>()),
        prop::option::of("[a-z_]{1,12}"),
        prop::option::of("[a-z]{1,8}"),
        prop::collection::vec(("[a-zA-Z]{1,8}", any::<String>()), 0..3),
        prop::option::of(any::<String>()),
    );
    (kind, extras).prop_map(|(mut error, (retryable, operation, driver, context, source))| {
        if let Some(retryable) = retryable {
            error = error.with_retryable(retryable);
        }
        if let Some(operation) = operation {
            error = error.with_operation(operation);
        }
        if let Some(driver) = driver {
            error = error.with_driver(driver);
        }
        for (key, value) in context {
            error = error.with_context(key, value);
        }
        match source {
            Some(source) => error.with_source(Wrapper(source.into())),
            None => error,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_error_read_equals_the_one_written(error in errors(), cleanup in prop::option::of(errors())) {
        let error = match cleanup {
            Some(cleanup) => error.with_cleanup(cleanup),
            None => error,
        };
        let text = serde_json::to_string(&error).unwrap();
        let read: DriverError = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &error);
        prop_assert_eq!(read.to_string(), error.to_string());
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn any_wire_message_is_read(code in prop::sample::select(ErrorKind::TABLE), message: String, retryable: bool) {
        let wire = json!({ "code": code.code, "message": message, "retryable": retryable });
        let read: DriverError = serde_json::from_value(wire).unwrap();
        prop_assert_eq!(read.is_retryable(), retryable);
        prop_assert!(read.to_string().contains(&message));
    }
}
