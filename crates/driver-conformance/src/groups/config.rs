//! `create_container` refuses configs that break a rule: one case a rule, and what holds for all of them.

use driver_types::{ContainerFilter, VolumeMount};

use super::config_rows::{Row, limits, rows, with_image, with_session};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("reports_all_violations", reports_all_violations)
        .proves(&["3.create.validate"]);
    group
        .case("violations_leave_nothing", violations_leave_nothing)
        .proves(&["3.create.atomic", "3.create.order"]);
    group
        .case("env_values_stay_secret", env_values_stay_secret)
        .proves(&["4.noSecrets"]);
    group
        .case("longest_values_are_accepted", longest_values_are_accepted)
        .proves(&["1.config.sessionId", "1.config.name", "1.config.labels"]);
    group
        .case("label_key_too_long", label_key_too_long)
        .proves(&["1.config.labels"]);
    for row in rows() {
        group
            .case(row.name, move |cx| refuses(cx, row))
            .proves(&[row.rule]);
    }
}

async fn refuses(cx: Context, row: &'static Row) -> CaseResult {
    let config = (row.spoil)(cx.config(["forever"]));
    let error = expect::violation(cx.driver().create_container(&config).await, row.pointer)?;
    let found = error
        .violation_list()
        .iter()
        .find(|violation| violation.pointer == row.pointer);
    let message = found
        .map(|violation| violation.message.as_str())
        .unwrap_or_default();
    expect::that("a message in the violation", !message.is_empty(), &error)
}

async fn reports_all_violations(cx: Context) -> CaseResult {
    let config = limits(cx.config(["forever"]), |l| l.memory(1).pids(0))
        .name("n")
        .env("1BAD", "x")
        .working_dir("work")
        .volume(VolumeMount::new("vol", "/proc"));
    let error = expect::violation(cx.driver().create_container(&config).await, "/name")?;
    let pointers: Vec<_> = error
        .violation_list()
        .iter()
        .map(|violation| violation.pointer.as_str())
        .collect();
    for pointer in [
        "/resources/memory",
        "/resources/pids",
        "/env/1BAD",
        "/workingDir",
        "/volumes/0/target",
    ] {
        expect::that(
            format!("a violation at {pointer} as well"),
            pointers.contains(&pointer),
            &pointers,
        )?;
        expect::contains("a message", &error.to_string(), pointer)?;
    }
    Ok(())
}

async fn violations_leave_nothing(cx: Context) -> CaseResult {
    // The image does not exist either, but the config is checked first.
    let config = with_image(
        limits(cx.config(["forever"]), |l| l.memory(1)),
        "no/such-image:here",
    );
    expect::violation(cx.driver().create_container(&config).await, "/resources/memory")?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    expect::equal("containers", listed.len(), 0)
}

async fn env_values_stay_secret(cx: Context) -> CaseResult {
    let secret = "hunter2-do-not-print";
    let config = cx
        .config(["forever"])
        .env("1BAD", secret)
        .env("NUL", format!("{secret}\0"));
    let error = expect::violation(cx.driver().create_container(&config).await, "/env/1BAD")?;
    let wire = serde_json::to_string(&error).unwrap_or_default();
    for text in [error.to_string(), error.report(), format!("{error:?}"), wire] {
        expect::that(
            "an error without the value of the variable",
            !text.contains(secret),
            &text,
        )?;
    }
    Ok(())
}

async fn longest_values_are_accepted(cx: Context) -> CaseResult {
    let session = format!("S9._-{}", "s".repeat(123));
    let name = format!("{}-{}", cx.owner(), "n".repeat(127 - cx.owner().len()));
    let config = with_session(cx.config(["forever"]), &session)
        .name(&name)
        .label("k".repeat(256), "v".repeat(4096))
        .env("_", "")
        .env("a1_", "x".repeat(10_000));
    let container = cx.create(&config).await?;
    expect::equal("sessionId", container.session_id, session)?;
    expect::equal("name", container.name, name)?;
    expect::equal("labels", container.labels, config.labels)
}

async fn label_key_too_long(cx: Context) -> CaseResult {
    let key = "k".repeat(257);
    let config = cx.config(["forever"]).label(&key, "v");
    expect::violation(
        cx.driver().create_container(&config).await,
        &format!("/labels/{key}"),
    )
    .map(drop)
}
