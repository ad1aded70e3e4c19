//! `create_container`: check everything first, then make the container in one call that is undone if its caller has
//! gone away.

mod unclaimed;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use driver_types::{
    ContainerConfig, ContainerInstance, DriverError, MountType, Operation, PullPolicy, PullRequest, Result,
    Violation, labels,
};
use driver_validation::{ValidatedConfig, check_capabilities, check_capacity, validate_config};
use futures_util::TryStreamExt;
use tokio::sync::OwnedMutexGuard;

use crate::engine::{Engine, detached};
use crate::failure::Failure;
use crate::images::ImageInspect;
use crate::instance::instance;
use crate::oom::see_run;
use crate::profile::Profile;
use crate::spec::{self, Resolved};
use crate::wire::{Created, Inspect, Summary};
use crate::{capabilities, error, guard, images, naming, networks, volumes};

use unclaimed::{Unclaimed, undo};

const OPERATION: Operation = Operation::CreateContainer;
/// How often another name is tried where the driver chooses it.
const NAME_ATTEMPTS: usize = 3;

/// Lets the calls with one request id wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Requests {
    async fn turn(&self, request_id: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(request_id).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::default();
                    turns.insert(request_id.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

/// Makes a container without starting it.
pub(crate) async fn create_container(
    engine: &Arc<Engine>,
    config: &ContainerConfig,
) -> Result<ContainerInstance> {
    let config = validate_config(config)?;
    let profile = engine.profile().await?;
    check(&config, &profile)?;
    let spec_hash = naming::hash(&*config);
    let turn = match &config.request_id {
        Some(request_id) => Some(engine.requests.turn(request_id).await),
        None => None,
    };
    if let Some(request_id) = &config.request_id
        && let Some(found) = find_by_label(engine, labels::REQUEST, request_id).await?
    {
        return same_request(engine, &found, request_id, &spec_hash).await;
    }
    let image = resolve_image(engine, &config).await?;
    let resolved = Resolved {
        network_mode: network_mode(engine, &config).await?,
        image_labels: image_labels(&config, &image),
        guard: guard::mount(engine, &profile.info.architecture, &config.image).await?,
        attempt: naming::unique(),
        spec_hash,
    };
    check_volumes(engine, &config).await?;
    let made = {
        let engine = Arc::clone(engine);
        detached(async move { make(&engine, &config, resolved, &profile, turn).await }).await?
    };
    Ok(made.claim())
}

/// What can be refused without asking the engine about other objects.
pub(crate) fn check(config: &ValidatedConfig, profile: &Profile) -> Result<()> {
    check_capabilities(config, &capabilities::of(profile))?;
    check_capacity(&config.resources, &profile.capacity())?;
    let volumes = config
        .volumes
        .iter()
        .enumerate()
        .map(|(index, volume)| (format!("/volumes/{index}/target"), &volume.target));
    let tmpfs = config.tmpfs.iter().flatten().enumerate();
    let tmpfs = tmpfs.map(|(index, mount)| (format!("/tmpfs/{index}/target"), &mount.target));
    let hidden =
        |target: &str| target == guard::DIRECTORY || target.starts_with(&format!("{}/", guard::DIRECTORY));
    let violations: Vec<_> = volumes
        .chain(tmpfs)
        .filter(|(_, target)| hidden(target))
        .map(|(pointer, target)| {
            Violation::new(pointer, format!("`{target}` is the driver's own directory"))
                .with_hint("use another target")
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(DriverError::violations(violations))
    }
}

/// The container of this owner with a label, if there is one.
async fn find_by_label(engine: &Engine, key: &str, value: &str) -> Result<Option<Inspect>> {
    let wanted = [engine.owner_label(), format!("{key}={value}")];
    let filters = BTreeMap::from([("label", wanted)]);
    let call = engine
        .client
        .get("/containers/json")
        .query("all", "true")
        .filters(&filters);
    let found: Result<Vec<Summary>, Failure> = call.value().await;
    let found = found.map_err(|failure| error::container(OPERATION, "", failure))?;
    match found.into_iter().find(|summary| summary.state != "removing") {
        Some(summary) => engine.find(OPERATION, &summary.id).await,
        None => Ok(None),
    }
}

/// The container that an earlier call with the same request id made.
async fn same_request(
    engine: &Arc<Engine>,
    found: &Inspect,
    request_id: &str,
    spec_hash: &str,
) -> Result<ContainerInstance> {
    if found.config.labels.get(labels::SPEC).map(String::as_str) != Some(spec_hash) {
        let message = format!("request id `{request_id}` was used with another config");
        let hint = "repeat the same config, or use another request id";
        return Err(DriverError::violations(vec![
            Violation::new("/requestId", message).with_hint(hint),
        ]));
    }
    describe(engine, found).await
}

async fn describe(engine: &Arc<Engine>, inspect: &Inspect) -> Result<ContainerInstance> {
    let profile = engine.profile().await?;
    let record = engine.records.of(&inspect.id);
    let memory = see_run(engine, &record, inspect);
    Ok(instance(inspect, &memory, &profile))
}

/// The image by the pull policy; the engine has it afterwards.
async fn resolve_image(engine: &Arc<Engine>, config: &ValidatedConfig) -> Result<ImageInspect> {
    let reference = &config.image;
    let found = images::inspect(engine, OPERATION, reference).await?;
    let is_id = config.image_reference()?.is_image_id();
    match (found, config.pull_policy) {
        (Some(image), PullPolicy::Never | PullPolicy::Missing) => return Ok(image),
        (Some(image), PullPolicy::Always) if is_id => return Ok(image),
        (None, PullPolicy::Never) => {
            return Err(DriverError::image_not_found(reference).with_context("pullPolicy", "never"));
        }
        (None, _) if is_id => return Err(DriverError::image_not_found(reference)),
        _ => {}
    }
    let progress = images::pull_image(engine, &PullRequest::new(reference)).await?;
    progress.try_for_each(async |_| Ok(())).await?;
    let pulled = images::inspect(engine, OPERATION, reference).await?;
    pulled.ok_or_else(|| DriverError::image_not_found(reference))
}

/// The labels that the engine will add of the image's.
fn image_labels(config: &ContainerConfig, image: &ImageInspect) -> Vec<String> {
    let labels = image.config.as_ref().and_then(|image| image.labels.as_ref());
    let keys = labels.into_iter().flat_map(BTreeMap::keys);
    keys.filter(|key| !config.labels.contains_key(*key))
        .cloned()
        .collect()
}

async fn network_mode(engine: &Engine, config: &ContainerConfig) -> Result<String> {
    match config.network.as_str() {
        ContainerConfig::NETWORK_NONE | ContainerConfig::NETWORK_HOST => Ok(config.network.clone()),
        ContainerConfig::NETWORK_DEFAULT => networks::default_network(engine).await,
        name => networks::of_owner(engine, name).await?.ok_or_else(|| {
            let message = format!("there is no network `{name}`");
            DriverError::violations(vec![
                Violation::new("/network", message).with_hint("make it with create_network first"),
            ])
        }),
    }
}

/// The engine would make a volume that is missing.
async fn check_volumes(engine: &Engine, config: &ContainerConfig) -> Result<()> {
    let mut missing = Vec::new();
    for (index, mount) in config.volumes.iter().enumerate() {
        if mount.effective_type() == MountType::Bind {
            continue;
        }
        let found = volumes::find(engine, OPERATION, &mount.source).await?;
        if !found.is_some_and(|volume| engine.owns(&volume.labels)) {
            let message = format!("there is no volume `{}`", mount.source);
            let violation = Violation::new(format!("/volumes/{index}/source"), message);
            missing.push(violation.with_hint("make it with create_volume first"));
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(DriverError::violations(missing))
    }
}

/// Makes the container, and removes it again if it is not what was asked for.
async fn make(
    engine: &Arc<Engine>,
    config: &ValidatedConfig,
    resolved: Resolved,
    profile: &Profile,
    turn: Option<OwnedMutexGuard<()>>,
) -> Result<Unclaimed> {
    let spec_hash = resolved.spec_hash.clone();
    let attempt = resolved.attempt.clone();
    let body = spec::body(config, resolved, &engine.options, profile);
    let created = match call(engine, config, &body).await {
        Ok(created) => created,
        Err(failure) => return recover(engine, config, &attempt, &spec_hash, failure, turn).await,
    };
    match verify(engine, config, &created, profile).await {
        Ok(made) => {
            let record = engine.records.of(&created.id);
            record.remember(|memory| memory.pristine = true);
            Ok(Unclaimed {
                engine: Arc::clone(engine),
                id: created.id,
                made: Some(made),
                turn,
            })
        }
        Err(error) => Err(match undo(engine, &created.id).await {
            Ok(()) => error,
            Err(cleanup) => error.with_cleanup(cleanup),
        }),
    }
}

async fn call(
    engine: &Engine,
    config: &ContainerConfig,
    body: &bollard::models::ContainerCreateBody,
) -> Result<Created, Failure> {
    let request_id = config.request_id.as_deref();
    let mut attempts = NAME_ATTEMPTS;
    loop {
        attempts -= 1;
        let chosen = || naming::container_name(&engine.options.owner, request_id);
        let name = config.name.clone().unwrap_or_else(chosen);
        let call = engine
            .client
            .post("/containers/create")
            .query("name", name)
            .json(body);
        match call.value().await {
            // A name that was drawn can be drawn again.
            Err(failure) if error::is_name_taken(&failure) => {
                if config.name.is_some() || request_id.is_some() || attempts == 0 {
                    return Err(failure);
                }
            }
            other => return other,
        }
    }
}

/// After a failure: another process may have made the container of this request id, or the connection may have broken
/// after the engine had made ours.
async fn recover(
    engine: &Arc<Engine>,
    config: &ContainerConfig,
    attempt: &str,
    spec_hash: &str,
    failure: Failure,
    turn: Option<OwnedMutexGuard<()>>,
) -> Result<Unclaimed> {
    if let Some(request_id) = config
        .request_id
        .as_deref()
        .filter(|_| error::is_name_taken(&failure))
        && let Some(found) = find_by_label(engine, labels::REQUEST, request_id).await?
    {
        return Ok(Unclaimed {
            engine: Arc::clone(engine),
            made: Some(same_request(engine, &found, request_id, spec_hash).await?),
            id: found.id,
            turn,
        });
    }
    if error::is_no_such_image(&failure) {
        return Err(DriverError::image_not_found(&config.image));
    }
    let error = error::container(OPERATION, "", failure.clone());
    if failure.status_code().is_none() {
        // Its caller gets an error, so nothing of it may stay. An engine that is away is `reap`'s matter.
        if let Ok(Some(found)) = find_by_label(engine, naming::ATTEMPT, attempt).await {
            return Err(match undo(engine, &found.id).await {
                Ok(()) => error,
                Err(cleanup) => error.with_cleanup(cleanup),
            });
        }
    }
    Err(error)
}

/// What was asked for is what was made: the engine drops what it does not know, and only warns of what it cannot do.
async fn verify(
    engine: &Arc<Engine>,
    config: &ContainerConfig,
    created: &Created,
    profile: &Profile,
) -> Result<ContainerInstance> {
    if !created.warnings.is_empty() {
        let message = format!(
            "the engine would not do all that was asked: {}",
            created.warnings.join("; ")
        );
        return Err(DriverError::container_creation(message).permanent());
    }
    let inspect = engine.inspect(OPERATION, &created.id).await?;
    let host = &inspect.host_config;
    let checks = [
        ("readOnly", host.readonly_rootfs == config.security.read_only),
        (
            "memory",
            !profile.info.memory_limit || host.memory == spec::bytes(config.resources.memory),
        ),
        (
            "pids",
            !profile.info.pids_limit || host.pids_limit == spec::signed(config.resources.pids),
        ),
    ];
    if let Some((field, _)) = checks.iter().find(|(_, holds)| !holds) {
        let message = format!("the engine took the config without an error, and dropped {field}");
        return Err(DriverError::container_creation(message).permanent());
    }
    describe(engine, &inspect).await
}
