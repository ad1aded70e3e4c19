//! `events`.

use driver_types::{
    BoxStream, Capability, Event, EventFilter, EventKind, ExitReason, HealthCheckConfig, HealthStatus,
    NetworkConfig, RemoveOptions, ResourceLimits, StopOptions, VolumeConfig,
};

use super::inside::{next, soon};
use crate::Context;
use crate::case::{CaseError, CaseResult, Group};
use crate::expect;

const EVENTS: &[Capability] = &[Capability::Events];
const KINDS: &[&str] = &["3.events.kinds"];
const ORDER: &[&str] = &["3.events.order"];

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

/// Events of this case's containers, from now on.
async fn watch(cx: &Context) -> Result<BoxStream<Event>, CaseError> {
    let filter = EventFilter {
        session_id: Some(cx.session().to_owned()),
        ..EventFilter::default()
    };
    Ok(cx.driver().events(&filter).await?)
}

/// Events of these kinds, from now on.
async fn watch_types(cx: &Context, types: &[&str]) -> Result<BoxStream<Event>, CaseError> {
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
async fn read_to(stream: &mut BoxStream<Event>, kind: &str) -> Result<Vec<Event>, CaseError> {
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

fn names(events: &[Event]) -> Vec<&'static str> {
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
    let mut stream = watch_types(&cx, &["volumeCreated", "volumeRemoved"]).await?;
    let name = cx
        .driver()
        .create_volume(&VolumeConfig::new(cx.name("v")))
        .await?
        .name;
    cx.driver().remove_volume(&name).await?;
    let events = read_to(&mut stream, "volumeRemoved").await?;
    let kinds: Vec<_> = events.into_iter().map(|event| event.kind).collect();
    let wanted = [
        EventKind::VolumeCreated { name: name.clone() },
        EventKind::VolumeRemoved { name },
    ];
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

/// Makes and removes a volume; these are its two events.
async fn come_and_go(cx: &Context, name: &str) -> Result<[EventKind; 2], CaseError> {
    cx.driver().create_volume(&VolumeConfig::new(name)).await?;
    cx.driver().remove_volume(name).await?;
    let name = name.to_owned();
    Ok([
        EventKind::VolumeCreated { name: name.clone() },
        EventKind::VolumeRemoved { name },
    ])
}

/// What is told late is told all the same, although the object has come and gone again since.
async fn same_name_again(cx: Context) -> CaseResult {
    let mut stream = watch_types(&cx, &["volumeCreated", "volumeRemoved"]).await?;
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
    let mut stream = watch_types(&cx, &["volumeCreated", "volumeRemoved"]).await?;
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
