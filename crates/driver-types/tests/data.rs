//! Bytes that are text most of the time.

#![allow(clippy::unwrap_used)]

use driver_types::{Data, Env};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, from_value, json, to_value};

#[rstest]
#[case::empty(b"", json!(""))]
#[case::text(b"hello\n", json!("hello\n"))]
#[case::umlaut("h\u{e4}".as_bytes(), json!("h\u{e4}"))]
#[case::nul(b"a\0b", json!("a\u{0}b"))]
#[case::binary(b"\xff\xfe", json!({"base64": "//4="}))]
#[case::cut_character(b"\xe2\x82", json!({"base64": "4oI="}))]
fn the_wire_form_is_text_or_base64(#[case] bytes: &'static [u8], #[case] wire: Value) {
    let data = Data::from(bytes);
    assert_eq!(to_value(&data).unwrap(), wire);
    assert_eq!(from_value::<Data>(wire).unwrap(), data);
}

#[rstest]
#[case::number(json!(1))]
#[case::null(Value::Null)]
#[case::list(json!([1, 2]))]
#[case::no_base64(json!({"base64": "!"}))]
#[case::no_padding(json!({"base64": "//4"}))]
#[case::url_alphabet(json!({"base64": "__4="}))]
#[case::stray_bits(json!({"base64": "//5="}))]
#[case::unknown_field(json!({"base64": "", "more": 1}))]
fn what_is_no_data(#[case] wire: Value) {
    assert!(from_value::<Data>(wire).is_err());
}

#[test]
fn base64_of_text_is_read_too() {
    assert_eq!(
        from_value::<Data>(json!({"base64": "aGk="})).unwrap(),
        Data::from("hi")
    );
}

#[test]
fn debug_output_shows_no_content() {
    assert_eq!(format!("{:?}", Data::from("secret")), "Data(6 bytes)");
    let env: Env = [("TOKEN", "secret")].into_iter().collect();
    assert_eq!(format!("{env:?}"), "{\"TOKEN\"}");
}

#[test]
fn text_of_broken_bytes_has_replacement_characters() {
    assert_eq!(Data::from(&b"a\xffb"[..]).to_text(), "a\u{fffd}b");
}

proptest! {
    #[test]
    fn all_bytes_survive_the_wire(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let data = Data::from(bytes);
        let text = serde_json::to_string(&data).unwrap();
        prop_assert_eq!(serde_json::from_str::<Data>(&text).unwrap(), data);
    }
}
