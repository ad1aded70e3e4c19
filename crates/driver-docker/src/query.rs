//! Reading containers: from the cache where that is surely fresh, else from the engine.

use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::sync::Arc;

use driver_types::{ContainerFilter, ContainerInstance, Operation, Result, labels};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::engine::Engine;
use crate::error;
use crate::instance::instance;
use crate::oom::see_run;
use crate::watch;
use crate::wire::Summary;

/// How many containers of a list are inspected at the same time.
const INSPECTS: usize = 8;

/// A snapshot of one container.
pub(crate) async fn get_container(engine: &Arc<Engine>, id: &str) -> Result<Option<ContainerInstance>> {
    watch::keep(engine);
    if let Some(snapshot) = engine.records.snapshot(id) {
        return Ok(Some((*snapshot).clone()));
    }
    let snapshot = read(engine, Operation::GetContainer, id).await?;
    Ok(snapshot.map(|snapshot| (*snapshot).clone()))
}

/// A snapshot of one container, asked of the engine and kept for later reads.
pub(crate) async fn read(
    engine: &Arc<Engine>,
    operation: Operation,
    id: &str,
) -> Result<Option<Arc<ContainerInstance>>> {
    let profile = engine.profile().await?;
    // Before the question: what happens while it is asked makes the answer stale.
    let before = engine.records.get(id).map(|record| (record.version(), record));
    let Some(inspect) = engine.find(operation, id).await? else {
        engine.records.forget(id);
        return Ok(None);
    };
    let record = match &before {
        Some((_, record)) => Arc::clone(record),
        None => engine.records.of(id),
    };
    let memory = see_run(engine, &record, &inspect);
    let snapshot = Arc::new(instance(&inspect, &memory, &profile));
    // Its checks change without an event: such a container is always asked for.
    if let Some((version, record)) = before.filter(|_| snapshot.health.is_none()) {
        record.store(version, Arc::clone(&snapshot));
    }
    Ok(Some(snapshot))
}

/// Snapshots of all containers that pass the filter, oldest first.
pub(crate) async fn list_containers(
    engine: &Arc<Engine>,
    filter: &ContainerFilter,
) -> Result<Vec<ContainerInstance>> {
    watch::keep(engine);
    let cached = if filter.all_owners {
        None
    } else {
        engine.records.all_snapshots()
    };
    let mut found: Vec<ContainerInstance> = match cached {
        Some(snapshots) => snapshots
            .iter()
            .filter(|snapshot| filter.matches(snapshot))
            .map(|snapshot| (**snapshot).clone())
            .collect(),
        None => ask(engine, filter).await?,
    };
    found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(found)
}

async fn ask(engine: &Arc<Engine>, filter: &ContainerFilter) -> Result<Vec<ContainerInstance>> {
    let summaries = if is_whole(filter) {
        let load = engine.records.begin_members();
        let summaries = summaries(engine, Operation::ListContainers, filter).await;
        if let Some(load) = load {
            let ids = summaries.as_ref().ok().map(|found| ids(found));
            engine.records.end_members(load, ids);
        }
        summaries?
    } else {
        summaries(engine, Operation::ListContainers, filter).await?
    };
    stream::iter(summaries)
        .map(async |summary| {
            // Records must be there before the question, so that the answer can be kept.
            if engine.owns(&summary.labels) {
                engine.records.of(&summary.id);
            }
            if filter.all_owners && !engine.owns(&summary.labels) {
                return foreign(engine, &summary.id).await;
            }
            if let Some(snapshot) = engine.records.snapshot(&summary.id) {
                return Ok(Some(snapshot));
            }
            read(engine, Operation::ListContainers, &summary.id).await
        })
        .buffer_unordered(INSPECTS)
        // Those that went away since they were listed are not there.
        .try_filter_map(|snapshot| ready(Ok(snapshot)))
        .try_filter_map(|snapshot| ready(Ok(filter.matches(&snapshot).then(|| (*snapshot).clone()))))
        .try_collect()
        .await
}

/// A container of another owner.
async fn foreign(engine: &Arc<Engine>, id: &str) -> Result<Option<Arc<ContainerInstance>>> {
    let profile = engine.profile().await?;
    let inspect = engine.find_any(Operation::ListContainers, id).await?;
    Ok(inspect.map(|inspect| Arc::new(instance(&inspect, &Default::default(), &profile))))
}

fn is_whole(filter: &ContainerFilter) -> bool {
    filter.session_id.is_none() && filter.labels.is_empty() && !filter.all_owners
}

fn ids(summaries: &[Summary]) -> HashSet<String> {
    summaries.iter().map(|summary| summary.id.clone()).collect()
}

/// What the engine lists, narrowed by what it can filter itself: that costs it a quarter.
pub(crate) async fn summaries(
    engine: &Engine,
    operation: Operation,
    filter: &ContainerFilter,
) -> Result<Vec<Summary>> {
    let owner = if filter.all_owners {
        labels::OWNER.to_owned()
    } else {
        engine.owner_label()
    };
    let session = filter
        .session_id
        .iter()
        .map(|session| format!("{}={session}", labels::SESSION));
    // The engine splits at the first `=`. What it cannot be asked for is filtered afterwards.
    let plain = filter.labels.iter().filter(|(key, _)| !key.contains('='));
    let callers = plain.map(|(key, value)| format!("{key}={value}"));
    let wanted: Vec<String> = std::iter::once(owner).chain(session).chain(callers).collect();
    let call = engine.client.get("/containers/json").query("all", "true");
    let filters = BTreeMap::from([("label", wanted)]);
    call.filters(&filters)
        .value()
        .await
        .map_err(|failure| error::container(operation, "", failure))
}
