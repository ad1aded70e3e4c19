//! `events`: what a reader gets of all that happens: by its filter, its owner, and how fast it reads.

use driver_types::{Event, EventFilter, EventKind, RemoveOptions, StopOptions, VolumeConfig};

use super::events::{EVENTS, KINDS, ORDER, names, read_to, watch, watch_types};
use super::inside::next;
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

/// The kinds of [`come_and_go`].
pub(super) const VOLUMES: &[&str] = &["volumeCreated", "volumeRemoved"];

pub(super) fn register(group: &mut Group) {
    group
        .case("filter_by_container", filter_by_container)
        .needs(EVENTS)
        .proves(KINDS);
    group
        .case("filter_by_type", filter_by_type)
        .needs(EVENTS)
        .proves(KINDS);
    group
        .case("other_owners_are_not_told", other_owner)
        .needs(EVENTS)
        .proves(&["3.owner"]);
    group
        .case("two_readers_see_the_same", two_readers)
        .needs(EVENTS)
        .proves(ORDER);
    group
        .case("a_name_that_comes_and_goes_again", same_name_again)
        .needs(EVENTS)
        .proves(KINDS);
    group
        .case("slow_reader_gets_lagged", slow_reader)
        .needs(EVENTS)
        .proves(ORDER)
        .timeout_seconds(120)
        // Its many events are events for the readers of other cases as well.
        .serial();
}

/// Makes and removes a volume; these are its two events.
pub(super) async fn come_and_go(cx: &Context, name: &str) -> Result<[EventKind; 2], CaseError> {
    cx.driver().create_volume(&VolumeConfig::new(name)).await?;
    cx.driver().remove_volume(name).await?;
    let name = name.to_owned();
    Ok([
        EventKind::VolumeCreated { name: name.clone() },
        EventKind::VolumeRemoved { name },
    ])
}

async fn filter_by_container(cx: Context) -> CaseResult {
    let config = cx.config(["forever"]);
    let (one, two) = (cx.create(&config).await?.id, cx.create(&config).await?.id);
    let mut stream = cx.driver().events(&EventFilter::container(&two)).await?;
    for id in [&one, &two] {
        cx.driver().start_container(id).await?;
        cx.driver().stop_container(id, &StopOptions::force()).await?;
    }
    let events = read_to(&mut stream, "exited").await?;
    let about = |event: &Event| event.container_id.as_ref() == Some(&two);
    expect::that(
        "events of the second container only",
        events.iter().all(about),
        &events,
    )?;
    expect::equal("events", names(&events), ["started", "exited"].to_vec())
}

async fn filter_by_type(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, &["created", "removed"]).await?;
    let id = cx.finish(&cx.config(["exit", "0"])).await?.container.id;
    cx.driver()
        .remove_container(&id, &RemoveOptions::default())
        .await?;
    let events = read_to(&mut stream, "removed").await?;
    expect::equal("events", names(&events), ["created", "removed"].to_vec())
}

async fn other_owner(cx: Context) -> CaseResult {
    let other = cx.open_other_owner("stranger").await?;
    let mut stream = cx.driver().events(&EventFilter::default()).await?;
    let theirs = other.create_volume(&VolumeConfig::new(cx.name("theirs"))).await?;
    other.create_container(&cx.config(["forever"])).await?;
    let ours = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("ours")))
        .await?;
    let wanted = EventKind::VolumeCreated { name: ours.name };
    loop {
        let event = next(format!("{wanted:?}"), &mut stream).await?;
        let strange = event.kind == EventKind::Created
            || event.kind
                == EventKind::VolumeCreated {
                    name: theirs.name.clone(),
                };
        expect::that("no event of another owner", !strange, &event)?;
        if event.kind == wanted {
            return Ok(());
        }
    }
}

async fn two_readers(cx: Context) -> CaseResult {
    let (mut one, mut two) = (watch(&cx).await?, watch(&cx).await?);
    cx.finish(&cx.config(["exit", "0"])).await?;
    let (one, two) = (
        read_to(&mut one, "exited").await?,
        read_to(&mut two, "exited").await?,
    );
    expect::equal("events of the second reader", two, one)
}

/// What is told late is told all the same, although the object has come and gone again since.
async fn same_name_again(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, VOLUMES).await?;
    for _ in 0..20 {
        come_and_go(&cx, &cx.name("again")).await?;
    }
    for wanted in come_and_go(&cx, &cx.name("again"))
        .await?
        .into_iter()
        .cycle()
        .take(42)
    {
        expect::equal(
            "event",
            next(&format!("{wanted:?}"), &mut stream).await?.kind,
            wanted,
        )?;
    }
    Ok(())
}

/// Nobody reads while many things happen: after that, all of it is told in order, or the loss is.
async fn slow_reader(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, VOLUMES).await?;
    let many = if cx.factory().simulated() { 5000 } else { 250 };
    let mut happened = Vec::new();
    for number in 0..many {
        happened.extend(come_and_go(&cx, &cx.name(&number.to_string())).await?);
    }
    for wanted in happened {
        let event = next(format!("{wanted:?} or lagged"), &mut stream).await?;
        if event.kind == EventKind::Lagged {
            return Ok(());
        }
        expect::equal("event", event.kind, wanted)?;
    }
    Ok(())
}
