//! Signals by name and number.

#![allow(clippy::unwrap_used)]

use driver_types::Signal;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, from_value, to_value};

#[rstest]
#[case("SIGTERM", 15)]
#[case("TERM", 15)]
#[case("term", 15)]
#[case("sigterm", 15)]
#[case("15", 15)]
#[case("9", 9)]
#[case("HUP", 1)]
#[case("SIGSYS", 31)]
#[case("32", 32)]
#[case("SIGRTMIN", 34)]
#[case("RTMIN+1", 35)]
#[case("SIGRTMIN+30", 64)]
#[case("64", 64)]
fn what_is_read(#[case] text: &str, #[case] number: i32) {
    assert_eq!(text.parse::<Signal>().unwrap().number(), number);
}

#[rstest]
#[case("")]
#[case("0")]
#[case("65")]
#[case("-9")]
#[case("SIG")]
#[case("SIGNOPE")]
#[case("SIGSIGTERM")]
#[case(" TERM")]
#[case("TERM\n")]
#[case("SIGRTMIN+31")]
#[case("SIGRTMIN-1")]
#[case("RTMIN+")]
#[case("RTMIN++1")]
#[case("+9")]
#[case("SIG9")]
#[case("99999999999999999999")]
#[case("TERM; rm -rf /")]
fn what_is_refused(#[case] text: &str) {
    let error = text.parse::<Signal>().unwrap_err();
    assert_eq!(error.code(), "CONFIGURATION_ERROR");
    let violation = &error.violation_list()[0];
    assert_eq!(violation.pointer, "/signal");
    assert!(
        violation.message.contains(&format!("`{}`", text.escape_debug())),
        "{}",
        violation.message
    );
    assert!(from_value::<Signal>(Value::from(text)).is_err());
}

#[rstest]
#[case(1, "SIGHUP")]
#[case(9, "SIGKILL")]
#[case(15, "SIGTERM")]
#[case(29, "SIGIO")]
#[case(31, "SIGSYS")]
#[case(32, "32")]
#[case(33, "33")]
#[case(34, "SIGRTMIN")]
#[case(64, "SIGRTMIN+30")]
fn what_is_written(#[case] number: i32, #[case] name: &str) {
    let signal = Signal::from_number(number).unwrap();
    assert_eq!(
        (signal.to_string().as_str(), format!("{signal:?}").as_str()),
        (name, name)
    );
    assert_eq!(to_value(signal).unwrap(), name);
}

#[rstest]
#[case(0, None)]
#[case(128, None)]
#[case(129, Some(Signal::HUP))]
#[case(137, Some(Signal::KILL))]
#[case(143, Some(Signal::TERM))]
#[case(193, None)]
#[case(i32::MIN, None)]
#[case(i32::MAX, None)]
fn exit_codes_of_shells(#[case] code: i32, #[case] signal: Option<Signal>) {
    assert_eq!(Signal::from_exit_code(code), signal);
    if let Some(signal) = signal {
        assert_eq!(signal.exit_code(), code);
    }
}

#[test]
fn the_constants_are_what_they_are_called() {
    let named = [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::KILL, "KILL"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::TERM, "TERM"),
    ];
    for (signal, name) in named {
        assert_eq!(name.parse::<Signal>().unwrap(), signal);
    }
}

proptest! {
    #[test]
    fn every_signal_survives_the_wire(number in 1..=64_i32) {
        let signal = Signal::from_number(number).unwrap();
        prop_assert_eq!(from_value::<Signal>(to_value(signal).unwrap()).unwrap(), signal);
        prop_assert_eq!(signal.to_string().to_lowercase().parse::<Signal>().unwrap(), signal);
        prop_assert_eq!(number.to_string().parse::<Signal>().unwrap(), signal);
    }

    #[test]
    fn numbers_out_of_range_are_no_signals(number in any::<i32>()) {
        prop_assert_eq!(Signal::from_number(number).is_some(), (1..=64).contains(&number));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        if let Ok(signal) = text.parse::<Signal>() {
            prop_assert!((1..=64).contains(&signal.number()));
        }
    }
}
