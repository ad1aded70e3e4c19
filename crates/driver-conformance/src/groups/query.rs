//! `get_container` and `list_containers`.

use driver_types::{
    ContainerConfig, ContainerFilter, ContainerInstance, ContainerState, ContainerStatus, Labels, StopOptions,
};

use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("get_unknown_is_none", get_unknown_is_none)
        .proves(&["2.unknown"]);
    group
        .case("get_needs_the_whole_id", get_needs_the_whole_id)
        .proves(&["2.unknown"]);
    group
        .case("snapshot_does_not_change", snapshot_does_not_change)
        .proves(&["1.instance.snapshot"]);
    group
        .case("list_oldest_first", list_oldest_first)
        .proves(&["3.list.order"]);
    group
        .case("list_agrees_with_get", list_agrees_with_get)
        .proves(&["1.instance.fields"]);
    group
        .case("list_of_nothing", list_of_nothing)
        .proves(&["3.list.filters"]);
    group
        .case("list_has_every_status", list_has_every_status)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_session", filter_by_session)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_status", filter_by_status)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_several_statuses", filter_by_several_statuses)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_state", filter_by_state)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_label", filter_by_label)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_several_labels", filter_by_several_labels)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_hostile_label", filter_by_hostile_label)
        .proves(&["3.list.filters"]);
    group
        .case("filter_by_name_prefix", filter_by_name_prefix)
        .proves(&["3.list.filters"]);
    group
        .case("name_prefix_is_no_pattern", name_prefix_is_no_pattern)
        .proves(&["3.list.filters"]);
    group
        .case("filters_are_anded", filters_are_anded)
        .proves(&["3.list.filters"]);
    group
        .case("exit_is_the_same_everywhere", exit_is_the_same_everywhere)
        .proves(&["1.exit"]);
}

/// The ids that a filter lets through.
async fn ids(cx: &Context, filter: ContainerFilter) -> Result<Vec<String>, CaseError> {
    let listed = cx.driver().list_containers(&filter).await?;
    Ok(listed.into_iter().map(|container| container.id).collect())
}

/// The ids, in the order of the containers, as a filter should let them through.
#[track_caller]
fn expect_ids(found: Vec<String>, expected: &[&ContainerInstance]) -> CaseResult {
    let expected: Vec<_> = expected.iter().map(|container| container.id.clone()).collect();
    expect::equal("ids", found, expected)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn get_unknown_is_none(cx: Context) -> CaseResult {
    for id in ["ab".repeat(32).as_str(), "no-such-container", "x"] {
        expect::equal(
            format!("get_container of {id}"),
            cx.driver().get_container(id).await?,
            None,
        )?;
    }
    Ok(())
}

async fn get_needs_the_whole_id(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    let prefix = &container.id[..container.id.len() - 1];
    expect::equal(
        "get_container of a part of the id",
        cx.driver().get_container(prefix).await?,
        None,
    )?;
    expect::equal(
        "get_container of the name",
        cx.driver().get_container(&container.name).await?,
        None,
    )?;
    expect::permanent(cx.driver().start_container(prefix).await, "CONTAINER_NOT_FOUND")?;
    expect::permanent(
        cx.driver().start_container(&container.name).await,
        "CONTAINER_NOT_FOUND",
    )
    .map(drop)
}

async fn snapshot_does_not_change(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    let (copy, listed) = (
        created.clone(),
        cx.driver().list_containers(&ContainerFilter::default()).await?,
    );
    cx.driver().start_container(&created.id).await?;
    expect::equal(
        "get_container",
        cx.get(&created.id).await?.status,
        ContainerStatus::Running,
    )?;
    expect::equal("the snapshot of create_container", &created, &copy)?;
    expect::equal("the snapshot of list_containers", &listed, &vec![copy])
}

async fn list_oldest_first(cx: Context) -> CaseResult {
    let mut made = Vec::new();
    // Names against the order of creation; so many that two are made in one millisecond where that can be.
    for name in ["z", "m", "a", "q", "y", "b", "x", "c"] {
        made.push(cx.create(&cx.config(["forever"]).name(cx.name(name))).await?);
    }
    cx.driver().start_container(&made[2].id).await?;
    expect_ids(
        ids(&cx, ContainerFilter::default()).await?,
        &made.iter().collect::<Vec<_>>(),
    )
}

async fn list_agrees_with_get(cx: Context) -> CaseResult {
    let first = cx
        .ready_with(cx.config(["mark", "x"]).label("a", "b").name(cx.name("agree")))
        .await?;
    let second = cx.finish(&cx.config(["exit", "2"])).await?.container;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    let found = vec![cx.get(&first.id).await?, cx.get(&second.id).await?];
    expect::equal("list_containers and get_container", listed, found)
}

async fn list_of_nothing(cx: Context) -> CaseResult {
    expect_ids(ids(&cx, ContainerFilter::default()).await?, &[])?;
    expect_ids(ids(&cx, ContainerFilter::session(cx.name("nobody"))).await?, &[])
}

async fn list_has_every_status(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    let running = cx.ready(["mark", "x"]).await?;
    let exited = cx.finish(&cx.config(["exit", "1"])).await?.container;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    let found: Vec<_> = listed
        .iter()
        .map(|container| (container.id.as_str(), container.status))
        .collect();
    let expected = vec![
        (created.id.as_str(), ContainerStatus::Created),
        (running.id.as_str(), ContainerStatus::Running),
        (exited.id.as_str(), ContainerStatus::Exited),
    ];
    expect::equal("ids and statuses", found, expected)
}

async fn filter_by_session(cx: Context) -> CaseResult {
    let mine = cx.create(&cx.config(["forever"])).await?;
    // One session's name begins with the other's.
    let session_id = format!("{}-2", cx.session());
    let other = cx
        .create(&ContainerConfig {
            session_id: session_id.clone(),
            ..cx.config(["forever"])
        })
        .await?;
    expect_ids(ids(&cx, ContainerFilter::session(cx.session())).await?, &[&mine])?;
    expect_ids(ids(&cx, ContainerFilter::session(session_id)).await?, &[&other])
}

fn by_status(status: &[ContainerStatus]) -> ContainerFilter {
    ContainerFilter {
        status: status.to_vec(),
        ..ContainerFilter::default()
    }
}

async fn filter_by_status(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    let running = cx.ready(["mark", "x"]).await?;
    let stopped = cx.ready(["mark", "x"]).await?;
    cx.driver()
        .stop_container(&stopped.id, &StopOptions::force())
        .await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    for (status, expected) in [
        (ContainerStatus::Created, Some(&created)),
        (ContainerStatus::Running, Some(&running)),
        (ContainerStatus::Stopped, Some(&stopped)),
        (ContainerStatus::Exited, Some(&exited)),
        (ContainerStatus::Paused, None),
        (ContainerStatus::Dead, None),
    ] {
        let expected: Vec<_> = expected.into_iter().collect();
        expect_ids(ids(&cx, by_status(&[status])).await?, &expected)?;
    }
    Ok(())
}

async fn filter_by_several_statuses(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    cx.ready(["mark", "x"]).await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    let filter = by_status(&[
        ContainerStatus::Exited,
        ContainerStatus::Created,
        ContainerStatus::Removing,
    ]);
    expect_ids(ids(&cx, filter).await?, &[&created, &exited])
}

async fn filter_by_state(cx: Context) -> CaseResult {
    let created = cx.create(&cx.config(["forever"])).await?;
    let running = cx.ready(["mark", "x"]).await?;
    let exited = cx.finish(&cx.config(["exit", "0"])).await?.container;
    let by_state = |state| ContainerFilter {
        state: Some(state),
        ..ContainerFilter::default()
    };
    expect_ids(ids(&cx, by_state(ContainerState::Running)).await?, &[&running])?;
    expect_ids(
        ids(&cx, by_state(ContainerState::Terminated)).await?,
        &[&created, &exited],
    )?;
    expect_ids(ids(&cx, by_state(ContainerState::Error)).await?, &[])
}

fn by_labels(pairs: &[(&str, &str)]) -> ContainerFilter {
    ContainerFilter {
        labels: labels(pairs),
        ..ContainerFilter::default()
    }
}

async fn filter_by_label(cx: Context) -> CaseResult {
    let blue = cx.create(&cx.config(["forever"]).label("colour", "blue")).await?;
    let red = cx.create(&cx.config(["forever"]).label("colour", "red")).await?;
    cx.create(&cx.config(["forever"]).label("Colour", "blue")).await?;
    expect_ids(ids(&cx, by_labels(&[("colour", "blue")])).await?, &[&blue])?;
    expect_ids(ids(&cx, by_labels(&[("colour", "red")])).await?, &[&red])?;
    expect_ids(ids(&cx, by_labels(&[("colour", "")])).await?, &[])
}

async fn filter_by_several_labels(cx: Context) -> CaseResult {
    let both = cx
        .create(&cx.config(["forever"]).label("a", "1").label("b", "2"))
        .await?;
    cx.create(&cx.config(["forever"]).label("a", "1")).await?;
    cx.create(&cx.config(["forever"]).label("a", "1").label("b", "3"))
        .await?;
    expect_ids(ids(&cx, by_labels(&[("a", "1"), ("b", "2")])).await?, &[&both])
}

async fn filter_by_hostile_label(cx: Context) -> CaseResult {
    let pairs = [
        ("a=b", "c=d"),
        ("quote\"", "{\"x\":[1]}"),
        ("dots.and/slashes", "ä ö\n"),
    ];
    for (key, value) in pairs {
        let container = cx.create(&cx.config(["forever"]).label(key, value)).await?;
        expect::equal("labels", &container.labels, &labels(&[(key, value)]))?;
        expect_ids(ids(&cx, by_labels(&[(key, value)])).await?, &[&container])?;
    }
    Ok(())
}

fn by_prefix(prefix: String) -> ContainerFilter {
    ContainerFilter {
        name_prefix: Some(prefix),
        ..ContainerFilter::default()
    }
}

async fn filter_by_name_prefix(cx: Context) -> CaseResult {
    let web1 = cx.create(&cx.config(["forever"]).name(cx.name("web1"))).await?;
    let web2 = cx.create(&cx.config(["forever"]).name(cx.name("web2"))).await?;
    cx.create(&cx.config(["forever"]).name(cx.name("db"))).await?;
    expect_ids(ids(&cx, by_prefix(cx.name("web"))).await?, &[&web1, &web2])?;
    expect_ids(ids(&cx, by_prefix(cx.name("web2"))).await?, &[&web2])?;
    // A prefix, not any part.
    expect_ids(ids(&cx, by_prefix("web".to_owned())).await?, &[])
}

async fn name_prefix_is_no_pattern(cx: Context) -> CaseResult {
    let dot = cx.create(&cx.config(["forever"]).name(cx.name("a.b"))).await?;
    cx.create(&cx.config(["forever"]).name(cx.name("axb"))).await?;
    expect_ids(ids(&cx, by_prefix(cx.name("a."))).await?, &[&dot])?;
    for pattern in ["a*", "a[.]b", ".*", "^"] {
        expect_ids(ids(&cx, by_prefix(cx.name(pattern))).await?, &[])?;
    }
    Ok(())
}

async fn filters_are_anded(cx: Context) -> CaseResult {
    let label = |config: ContainerConfig| config.label("kind", "wanted");
    let wanted = cx
        .ready_with(label(cx.config(["mark", "x"])).name(cx.name("this")))
        .await?;
    // Each of these misses one condition.
    cx.ready_with(label(cx.config(["mark", "x"])).name(cx.name("other")))
        .await?;
    cx.ready_with(cx.config(["mark", "x"]).name(cx.name("this-without-label")))
        .await?;
    cx.create(&label(cx.config(["forever"])).name(cx.name("this-created")))
        .await?;
    let elsewhere = ContainerConfig {
        session_id: cx.name("elsewhere"),
        ..cx.config(["mark", "x"])
    };
    cx.ready_with(label(elsewhere).name(cx.name("this-elsewhere")))
        .await?;
    let filter = ContainerFilter {
        session_id: Some(cx.session().to_owned()),
        status: vec![ContainerStatus::Running],
        state: Some(ContainerState::Running),
        labels: labels(&[("kind", "wanted")]),
        name_prefix: Some(cx.name("this")),
        all_owners: false,
    };
    expect_ids(ids(&cx, filter).await?, &[&wanted])
}

async fn exit_is_the_same_everywhere(cx: Context) -> CaseResult {
    let finished = cx.finish(&cx.config(["exit", "9"])).await?;
    let listed = cx.driver().list_containers(&ContainerFilter::default()).await?;
    let by_list = listed.first().and_then(|container| container.exit.clone());
    expect::equal(
        "exit of get_container",
        finished.container.exit.as_ref(),
        Some(&finished.exit),
    )?;
    expect::equal("exit of list_containers", by_list.as_ref(), Some(&finished.exit))?;
    expect::equal(
        "finishedAt",
        finished.container.finished_at,
        Some(finished.exit.finished_at),
    )
}
