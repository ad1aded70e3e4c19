//! The forms of a report, and how a run is judged.
#![allow(clippy::unwrap_used)]

use driver_conformance::{
    CaseReport, Details, DriverReport, Format, Outcome, Report, RunStatus, Summary, Timing, read_reports,
};
use driver_types::{Capabilities, Capability, Support};
use serde_json::{Value, json};

fn case(id: &str, outcome: Outcome, reason: Option<&str>) -> CaseReport {
    CaseReport {
        id: id.to_owned(),
        outcome,
        reason: reason.map(str::to_owned),
        duration_ms: 1234,
    }
}

fn driver(name: &str, cases: Vec<CaseReport>) -> DriverReport {
    let capabilities = Capabilities::none()
        .with(Capability::Wait, Support::native())
        .with(Capability::DiskLimit, Support::none("no quotas here"));
    let timing = Timing {
        operation: "get_container".to_owned(),
        median_micros: 1500,
        samples: 7,
    };
    DriverReport {
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        status: RunStatus::Ran,
        reason: None,
        summary: Summary::of(&cases),
        cases,
        details: Some(Details {
            capabilities,
            timings: vec![timing],
        }),
    }
}

fn unavailable(name: &str) -> DriverReport {
    DriverReport {
        name: name.to_owned(),
        version: String::new(),
        status: RunStatus::Unavailable,
        reason: Some("no engine".to_owned()),
        summary: Summary::default(),
        cases: Vec::new(),
        details: None,
    }
}

fn sample() -> Report {
    let cases = vec![
        case("stop::force_kills", Outcome::Passed, None),
        case(
            "stop::paused",
            Outcome::Failed,
            Some("expected: a <b> & \"c\"\n     got: \u{1}nothing"),
        ),
        case(
            "logs::tail",
            Outcome::Skipped,
            Some("no capability wait: not yet"),
        ),
    ];
    Report::of(vec![driver("alpha", cases), unavailable("beta")])
}

#[test]
fn json_has_the_documented_form() {
    let mut report = sample();
    report.drivers[0].details = None;
    let value: Value = serde_json::from_str(&report.render(Format::Json)).unwrap();
    let expected = json!({
        "drivers": [
            {
                "name": "alpha", "version": "1.2.3", "status": "ran", "reason": null,
                "summary": {"passed": 1, "failed": 1, "skipped": 1},
                "cases": [
                    {"id": "stop::force_kills", "outcome": "passed", "reason": null, "durationMs": 1234},
                    {"id": "stop::paused", "outcome": "failed",
                     "reason": "expected: a <b> & \"c\"\n     got: \u{1}nothing", "durationMs": 1234},
                    {"id": "logs::tail", "outcome": "skipped", "reason": "no capability wait: not yet",
                     "durationMs": 1234},
                ],
            },
            {
                "name": "beta", "version": "", "status": "unavailable", "reason": "no engine",
                "summary": {"passed": 0, "failed": 0, "skipped": 0}, "cases": [],
            },
        ],
        "summary": {"passed": 1, "failed": 1, "skipped": 1},
    });
    assert_eq!(value, expected);
}

#[test]
fn pretty_shows_table_skips_failures_and_how_to_repeat() {
    let text = sample().render(Format::Pretty);
    for part in [
        " alpha\n",
        "stop              1 ok, 1 FAILED\n",
        "beta unavailable: no engine\n",
        "skipped on alpha:\n    1 x no capability wait: not yet\n",
        "FAILED stop::paused on alpha (1234 ms)\n  expected: a <b> & \"c\"\n",
        "  run it alone: cargo xtask conformance --driver alpha --case stop::paused\n",
        "\n1 passed, 1 failed, 1 skipped\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn junit_is_well_formed() {
    let xml = sample().render(Format::Junit);
    assert!(
        xml.contains("<testsuite name=\"alpha\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"3.702\">"),
        "{xml}"
    );
    assert!(
        xml.contains("classname=\"alpha.stop\" name=\"paused\" time=\"1.234\""),
        "{xml}"
    );
    assert!(
        xml.contains("expected: a &lt;b&gt; &amp; &quot;c&quot;&#10;"),
        "{xml}"
    );
    assert!(!xml.contains('\u{1}'), "a control character that XML cannot have");
    assert_eq!(
        xml.matches("<testcase").count(),
        xml.matches("</testcase>").count() + xml.matches("\"/>\n").count()
    );
}

#[test]
fn markdown_compares_features_behaviour_and_times() {
    let text = sample().render(Format::Markdown);
    for part in [
        "| alpha | 1.2.3 | 1 | 1 | 1 |",
        "| beta | unavailable: no engine | 0 | 0 | 0 |",
        "| wait | native |",
        "| diskLimit | none (",
        ". no quotas here",
        "| stop | 1 / 2 |",
        "| logs | - |",
        "| `get_container` | 1.500 |",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn a_failure_an_unavailable_required_driver_and_an_empty_run_are_problems() {
    let required = ["alpha".to_owned(), "beta".to_owned(), "gamma".to_owned()];
    assert_eq!(
        sample().problems(&required),
        [
            "1 cases failed",
            "required driver beta is unavailable: no engine",
            "required driver gamma is not in the run"
        ]
    );
    let green = Report::of(vec![
        driver("alpha", vec![case("stop::x", Outcome::Passed, None)]),
        unavailable("beta"),
    ]);
    assert_eq!(green.problems(&[]), Vec::<String>::new());
    let skipped = Report::of(vec![driver(
        "alpha",
        vec![case("stop::x", Outcome::Skipped, Some("why"))],
    )]);
    assert_eq!(skipped.problems(&[]), ["no case ran"]);
    assert_eq!(Report::default().problems(&[]), ["no case ran"]);
}

#[test]
fn reports_of_several_programs_are_joined() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let file = directory.path().join(name);
            let report = Report::of(vec![driver(name, vec![case("stop::x", Outcome::Passed, None)])]);
            std::fs::write(&file, report.render(Format::Json)).unwrap();
            file
        })
        .collect();
    let joined = read_reports(&files).unwrap();
    let names: Vec<_> = joined.drivers.iter().map(|driver| driver.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(
        joined.summary,
        Summary {
            passed: 2,
            failed: 0,
            skipped: 0
        }
    );
    assert!(
        joined.drivers[0].details.is_some(),
        "what the comparison needs is kept"
    );
    let missing = read_reports(&[directory.path().join("three")]).unwrap_err();
    assert!(missing.to_string().contains("three"), "{missing}");
}
