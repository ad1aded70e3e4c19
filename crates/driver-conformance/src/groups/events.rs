//! `events`: what is told of containers, volumes, networks and images.

use driver_types::{
    BoxStream, Capability, Event, EventFilter, EventKind, ExitReason, HealthCheckConfig, HealthStatus,
    NetworkConfig, RemoveOptions, ResourceLimits, StopOptions,
};

use super::events_readers::{VOLUMES, come_and_go};
use super::inside::{next, soon};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

pub(super) const EVENTS: &[Capability] = &[Capability::Events];
pub(super) const KINDS: &[&str] = &["3.events.kinds"];
pub(super) const ORDER: &[&str] = &["3.events.order"];

pub(super) fn register(group: &mut Group) {
    group
        .case("order_of_a_life", order_of_a_life)
        .needs(EVENTS)
        .proves(&["3.events.kinds", "3.events.order"]);
    group
        .case("exit_tells_how", exit_tells_how)
        .needs(EVENTS)
        .proves(KINDS);
    group
        .case("every_run_is_told", every_run)
        .needs(EVENTS)
        .proves(ORDER);
    group
        .case("paused_and_resumed", paused_and_resumed)
        .needs(&[Capability::Events, Capability::Pause])
        .proves(KINDS);
    group
        .case("oom_comes_before_the_exit", oom)
        .needs(&[Capability::Events, Capability::MemoryLimit])
        .proves(ORDER);
    group
        .case("health_changes", health)
        .needs(&[Capability::Events, Capability::HealthCheck])
        .proves(KINDS);
    group.case("volumes", volumes).needs(EVENTS).proves(KINDS);
    group.case("networks", networks).needs(EVENTS).proves(KINDS);
    group
        .case("images", images)
        .needs(&[Capability::Events, Capability::ImportImage, Capability::Images])
        .proves(KINDS);
    super::events_readers::register(group);
}

/// Events of this case's containers, from now on.
pub(super) async fn watch(cx: &Context) -> Result<BoxStream<Event>, CaseError> {
    let filter = EventFilter {
        session_id: Some(cx.session().to_owned()),
        ..EventFilter::default()
    };
    Ok(cx.driver().events(&filter).await?)
}

/// Events of these kinds, from now on.
pub(super) async fn watch_types(cx: &Context, types: &[&str]) -> Result<BoxStream<Event>, CaseError> {
    let types = types.iter().map(|kind| (*kind).to_owned()).collect();
    Ok(cx
        .driver()
        .events(&EventFilter {
            types,
            ..EventFilter::default()
        })
        .await?)
}

/// Reads up to and with the first event of a kind.
pub(super) async fn read_to(stream: &mut BoxStream<Event>, kind: &str) -> Result<Vec<Event>, CaseError> {
    let mut events = Vec::new();
    loop {
        let event = next(format!("an event {kind} after {events:?}"), stream).await?;
        let last = event.kind.name() == kind;
        events.push(event);
        if last {
            return Ok(events);
        }
    }
}

pub(super) fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.name()).collect()
}

/// The reason of the exit that an event tells.
fn reason(event: &Event) -> Option<ExitReason> {
    match &event.kind {
        EventKind::Exited { exit } => Some(exit.reason),
        _ => None,
    }
}

async fn order_of_a_life(cx: Context) -> CaseResult {
    let mut stream = watch(&cx).await?;
    let id = cx.run(&cx.config(["forever"])).await?.id;
    cx.driver().stop_container(&id, &StopOptions::force()).await?;
    cx.driver()
        .remove_container(&id, &RemoveOptions::default())
        .await?;
    let events = read_to(&mut stream, "removed").await?;
    expect::equal(
        "events",
        names(&events),
        ["created", "started", "exited", "removed"].to_vec(),
    )?;
    let about = |event: &Event| {
        event.container_id.as_ref() == Some(&id) && event.session_id.as_deref() == Some(cx.session())
    };
    expect::that(
        "the container and session in each",
        events.iter().all(about),
        &events,
    )?;
    expect::that(
        "times in order",
        events.is_sorted_by_key(|event| event.time),
        &events,
    )?;
    expect::equal(
        "reason of the exit",
        reason(&events[2]),
        Some(ExitReason::Stopped),
    )
}

async fn exit_tells_how(cx: Context) -> CaseResult {
    let mut stream = watch(&cx).await?;
    let exit = cx.finish(&cx.config(["exit", "7"])).await?.exit;
    let events = read_to(&mut stream, "exited").await?;
    let told = events.last().map(|event| event.kind.clone());
    match told {
        Some(EventKind::Exited { exit: told }) => {
            let facts = (told.exit_code, told.reason, told.signal);
            expect::equal("exit", facts, (Some(7), ExitReason::Exited, None))?;
            expect::equal("reason that wait_container tells", exit.reason, told.reason)
        }
        other => expect::that("an exit", false, other),
    }
}

async fn every_run(cx: Context) -> CaseResult {
    let mut stream = watch(&cx).await?;
    let id = cx.finish(&cx.config(["exit", "1"])).await?.container.id;
    cx.driver().start_container(&id).await?;
    cx.wait_exit(&id).await?;
    let mut events = read_to(&mut stream, "exited").await?;
    events.extend(read_to(&mut stream, "exited").await?);
    expect::equal(
        "events",
        names(&events),
        ["created", "started", "exited", "started", "exited"].to_vec(),
    )
}

async fn paused_and_resumed(cx: Context) -> CaseResult {
    let mut stream = watch(&cx).await?;
    let id = cx.run(&cx.config(["forever"])).await?.id;
    cx.driver().pause_container(&id).await?;
    cx.driver().resume_container(&id).await?;
    let events = read_to(&mut stream, "resumed").await?;
    expect::equal(
        "events",
        names(&events),
        ["created", "started", "paused", "resumed"].to_vec(),
    )
}

async fn oom(cx: Context) -> CaseResult {
    let mut stream = watch(&cx).await?;
    cx.finish(
        &cx.config(["alloc", "300"])
            .resources(ResourceLimits::default().memory(32)),
    )
    .await?;
    let events = read_to(&mut stream, "exited").await?;
    expect::that(
        "oom before the exit",
        names(&events).contains(&"oom"),
        names(&events),
    )?;
    expect::equal(
        "reason of the exit",
        events.last().and_then(reason),
        Some(ExitReason::Oom),
    )
}

async fn health(cx: Context) -> CaseResult {
    let mut check = HealthCheckConfig::command(cx.argv(["exit", "0"]));
    check.interval_ms = 200;
    let mut stream = watch(&cx).await?;
    cx.run(&cx.config(["forever"]).healthcheck(check)).await?;
    loop {
        let events = read_to(&mut stream, "health").await?;
        // An engine may tell the first verdict, `starting`, or not.
        match events.last().map(|event| event.kind.clone()) {
            Some(EventKind::Health {
                status: HealthStatus::Starting,
            }) => {}
            told => {
                return expect::equal(
                    "verdict",
                    told,
                    Some(EventKind::Health {
                        status: HealthStatus::Healthy,
                    }),
                );
            }
        }
    }
}

async fn volumes(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, VOLUMES).await?;
    let wanted = come_and_go(&cx, &cx.name("v")).await?;
    let events = read_to(&mut stream, "volumeRemoved").await?;
    let kinds: Vec<_> = events.into_iter().map(|event| event.kind).collect();
    expect::equal("events", kinds, wanted.to_vec())
}

async fn networks(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, &["networkCreated", "networkRemoved"]).await?;
    let name = cx.name("n");
    cx.driver()
        .create_network(&NetworkConfig::new(&name).internal(true))
        .await?;
    cx.driver().remove_network(&name).await?;
    let events = read_to(&mut stream, "networkRemoved").await?;
    let kinds: Vec<_> = events.into_iter().map(|event| event.kind).collect();
    let wanted = [
        EventKind::NetworkCreated { name: name.clone() },
        EventKind::NetworkRemoved { name },
    ];
    expect::equal("events", kinds, wanted.to_vec())
}

/// Images have no owner: those of other cases are seen as well. An engine may know only the id of what was removed.
async fn images(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, &["imageAdded", "imageRemoved"]).await?;
    let image = super::images::import(&cx, "events").await?;
    let reference = cx.image_name("events");
    cx.driver().remove_image(&reference).await?;
    let seen = async {
        let added = EventKind::ImageAdded {
            reference: reference.clone(),
        };
        while next("imageAdded", &mut stream).await?.kind != added {}
        loop {
            match next("imageRemoved", &mut stream).await?.kind {
                EventKind::ImageRemoved { reference: told } if [&reference, &image.id].contains(&&told) => {
                    return Ok(());
                }
                _ => {}
            }
        }
    };
    soon("imageAdded and imageRemoved of the image", seen).await?
}
