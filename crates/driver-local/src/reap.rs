//! `reap`: removes what has expired or has no owner.

use std::sync::Arc;

use driver_types::{
    ContainerStatus, DriverError, MountType, ObjectKind, ObjectRef, ReapFailure, ReapPolicy, ReapReason,
    ReapReport, Reaped, Result,
};

use crate::container::Container;
use crate::core::{Core, blocking};
use crate::lifecycle;
use crate::object_calls::user_of_volume;
use crate::time::now_ms;

/// Removes what the policy condemns, or only reports it.
pub(crate) async fn reap(core: &Arc<Core>, policy: &ReapPolicy) -> Result<ReapReport> {
    driver_validation::validate_reap_policy(policy)?;
    let judge = Judge {
        owner: &core.owner,
        policy,
        now: now_ms(),
    };
    let mut report = ReapReport {
        dry_run: policy.dry_run,
        ..ReapReport::default()
    };
    let mut kept = Vec::new();
    for container in core.containers.list(true)? {
        match judge.container(&container) {
            Some(reason) => {
                let object = reference(ObjectKind::Container, container.id());
                settle(&mut report, object, reason, async || {
                    remove(core, container.id()).await
                })
                .await;
            }
            None => kept.push(container),
        }
    }
    reap_volumes(core, &judge, &kept, &mut report).await?;
    reap_networks(core, &judge, &kept, &mut report).await?;
    Ok(report)
}

fn reference(kind: ObjectKind, id: &str) -> ObjectRef {
    ObjectRef {
        kind,
        id: id.to_owned(),
    }
}

async fn remove(core: &Arc<Core>, id: &str) -> Result<()> {
    let turn = core.turn_of_any(id).await?;
    lifecycle::remove(core, turn).await
}

async fn reap_volumes(
    core: &Arc<Core>,
    judge: &Judge<'_>,
    users: &[Container],
    report: &mut ReapReport,
) -> Result<()> {
    for (owner, volume) in core.volumes.of_all_owners()? {
        let is_used = users.iter().any(|user| {
            let mut mounts = user.spec.config.volumes.iter();
            user.spec.owner == owner
                && mounts
                    .any(|mount| mount.effective_type() == MountType::Volume && mount.source == volume.name)
        });
        let reason = judge.ownerless(&owner, volume.created_at).filter(|_| !is_used);
        if let Some(reason) = reason {
            let object = reference(ObjectKind::Volume, &volume.id);
            settle(report, object, reason, async || {
                let (core, name) = (Arc::clone(core), volume.name.clone());
                blocking(move || {
                    core.volumes
                        .remove_of(&owner, &name, |name| user_of_volume(&core, &owner, name))
                })
                .await
            })
            .await;
        }
    }
    Ok(())
}

async fn reap_networks(
    core: &Arc<Core>,
    judge: &Judge<'_>,
    users: &[Container],
    report: &mut ReapReport,
) -> Result<()> {
    for (owner, network) in core.networks.of_all_owners()? {
        let is_used = users
            .iter()
            .any(|user| user.spec.owner == owner && user.spec.config.network == network.name);
        let reason = judge.ownerless(&owner, network.created_at).filter(|_| !is_used);
        if let Some(reason) = reason {
            let object = reference(ObjectKind::Network, &network.id);
            settle(report, object, reason, async || {
                core.networks.remove_of(&owner, &network.name)
            })
            .await;
        }
    }
    Ok(())
}

/// Removes one condemned object, and writes it down.
async fn settle(
    report: &mut ReapReport,
    object: ObjectRef,
    reason: ReapReason,
    removal: impl AsyncFnOnce() -> Result<(), DriverError>,
) {
    let removed = match report.dry_run {
        true => Ok(()),
        false => removal().await,
    };
    match removed {
        Ok(()) => report.removed.push(Reaped { object, reason }),
        // Somebody else was faster.
        Err(error) if error.code().ends_with("NOT_FOUND") => {}
        Err(error) => report.failed.push(ReapFailure { object, error }),
    }
}

/// Applies the policy.
struct Judge<'a> {
    owner: &'a str,
    policy: &'a ReapPolicy,
    now: u64,
}

impl Judge<'_> {
    fn container(&self, container: &Container) -> Option<ReapReason> {
        let spec = &container.spec;
        let ownerless = self.ownerless(&spec.owner, spec.created_at);
        if ownerless.is_some() || spec.owner != self.owner {
            return ownerless;
        }
        let age = self.now.saturating_sub(spec.created_at);
        if self.policy.max_age_ms.is_some_and(|limit| age > limit) {
            return Some(ReapReason::Expired);
        }
        if age <= self.policy.effective_grace_ms() {
            return None;
        }
        let sessions = self.policy.live_sessions.as_ref();
        if sessions.is_some_and(|live| !live.contains(&spec.config.session_id)) {
            return Some(ReapReason::Ownerless);
        }
        let broken = matches!(
            container.status(),
            ContainerStatus::Dead | ContainerStatus::Removing
        );
        broken.then_some(ReapReason::Orphaned)
    }

    /// Whether the owner of an object does not live.
    fn ownerless(&self, owner: &str, created_at: u64) -> Option<ReapReason> {
        let live = self.policy.live_owners.as_ref()?;
        let is_old = self.now.saturating_sub(created_at) > self.policy.effective_grace_ms();
        (is_old && !live.iter().any(|name| name == owner)).then_some(ReapReason::Ownerless)
    }
}
