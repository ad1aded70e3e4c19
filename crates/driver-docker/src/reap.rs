//! `reap`: removes what has expired or has no owner, and never what does not carry the drivers' labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use driver_types::{
    ContainerFilter, DriverError, ObjectKind, ObjectRef, Operation, ReapFailure, ReapPolicy, ReapReason,
    ReapReport, Reaped, Result, labels,
};
use driver_validation::validate_reap_policy;

use crate::engine::{Engine, path_segment};
use crate::failure::Failure;
use crate::time::{now_ms, parse_ms};
use crate::wire::Summary;
use crate::{error, networks, query, volumes};

const OPERATION: Operation = Operation::Reap;

/// Removes what the policy condemns, or only reports it.
pub(crate) async fn reap(engine: &Arc<Engine>, policy: &ReapPolicy) -> Result<ReapReport> {
    validate_reap_policy(policy)?;
    let everybody = ContainerFilter {
        all_owners: true,
        ..ContainerFilter::default()
    };
    let judge = Judge {
        owner: &engine.options.owner,
        policy,
        now: now_ms(),
    };
    let mut report = ReapReport {
        dry_run: policy.dry_run,
        ..ReapReport::default()
    };
    let containers = query::summaries(engine, OPERATION, &everybody).await?;
    let (condemned, kept): (Vec<_>, Vec<_>) = containers
        .iter()
        .map(|container| (container, judge.container(container)))
        .partition(|(_, reason)| reason.is_some());
    for (container, reason) in condemned {
        let path = format!("/containers/{}", container.id);
        let removal = engine.client.delete(path).query("force", true).query("v", true);
        let settled = settle(
            &mut report,
            ObjectKind::Container,
            &container.id,
            reason,
            async || {
                removal
                    .unit()
                    .await
                    .map_err(|failure| error::container(Operation::RemoveContainer, &container.id, failure))
            },
        )
        .await;
        if settled {
            engine.records.forget(&container.id);
        }
    }
    let users: Vec<&Summary> = kept.into_iter().map(|(container, _)| container).collect();
    reap_volumes(engine, &judge, &users, &mut report).await?;
    reap_networks(engine, &judge, &users, &mut report).await?;
    Ok(report)
}

async fn reap_volumes(
    engine: &Engine,
    judge: &Judge<'_>,
    users: &[&Summary],
    report: &mut ReapReport,
) -> Result<()> {
    if judge.policy.live_owners.is_none() {
        return Ok(());
    }
    for volume in volumes::list(engine, OPERATION, labels::OWNER).await? {
        let created = parse_ms(&volume.created_at);
        let is_used = users
            .iter()
            .any(|user| user.mounts.iter().any(|mount| mount.name == volume.name));
        let reason = judge.ownerless(&volume.labels, created).filter(|_| !is_used);
        let path = format!("/volumes/{}", path_segment(&volume.name));
        settle(report, ObjectKind::Volume, &volume.name, reason, async || {
            let removed = engine.client.delete(path).unit().await;
            removed.map_err(|failure| error::volume(Operation::RemoveVolume, &volume.name, failure))
        })
        .await;
    }
    Ok(())
}

async fn reap_networks(
    engine: &Engine,
    judge: &Judge<'_>,
    users: &[&Summary],
    report: &mut ReapReport,
) -> Result<()> {
    if judge.policy.live_owners.is_none() {
        return Ok(());
    }
    for network in networks::list(engine, OPERATION, labels::OWNER).await? {
        let is_used = users.iter().any(|user| networks::refers_to(user, &network));
        let reason = judge
            .ownerless(&network.labels, parse_ms(&network.created))
            .filter(|_| !is_used);
        settle(report, ObjectKind::Network, &network.id, reason, async || {
            let removed: Result<(), Failure> = engine
                .client
                .delete(format!("/networks/{}", network.id))
                .unit()
                .await;
            removed.map_err(|failure| error::network(Operation::RemoveNetwork, &network.name, failure))
        })
        .await;
    }
    Ok(())
}

/// Removes one object that is condemned, and writes it down. Whether it is gone now.
async fn settle(
    report: &mut ReapReport,
    kind: ObjectKind,
    id: &str,
    reason: Option<ReapReason>,
    removal: impl AsyncFnOnce() -> Result<(), DriverError>,
) -> bool {
    let Some(reason) = reason else { return false };
    let object = ObjectRef {
        kind,
        id: id.to_owned(),
    };
    if report.dry_run {
        report.removed.push(Reaped { object, reason });
        return false;
    }
    match removal().await {
        Ok(()) => {
            report.removed.push(Reaped { object, reason });
            true
        }
        // Somebody else was faster.
        Err(error) if error.code().ends_with("NOT_FOUND") => true,
        Err(error) => {
            report.failed.push(ReapFailure { object, error });
            false
        }
    }
}

/// Applies the policy.
struct Judge<'a> {
    owner: &'a str,
    policy: &'a ReapPolicy,
    now: u64,
}

impl Judge<'_> {
    fn container(&self, container: &Summary) -> Option<ReapReason> {
        let created = u64::try_from(container.created)
            .ok()
            .map(|seconds| seconds.saturating_mul(1000));
        self.ownerless(&container.labels, created).or_else(|| {
            if container.labels.get(labels::OWNER).map(String::as_str) != Some(self.owner) {
                return None;
            }
            let age = self.age(created);
            if self.policy.max_age_ms.is_some_and(|limit| age > limit) {
                return Some(ReapReason::Expired);
            }
            let session = container.labels.get(labels::SESSION);
            let is_dead = |live: &Vec<String>| session.is_none_or(|session| !live.contains(session));
            let is_old = age > self.policy.effective_grace_ms();
            if is_old && self.policy.live_sessions.as_ref().is_some_and(is_dead) {
                return Some(ReapReason::Ownerless);
            }
            let is_broken = matches!(container.state.as_str(), "dead" | "removing");
            (is_old && is_broken).then_some(ReapReason::Orphaned)
        })
    }

    /// Whether the owner of an object does not live. Without the drivers' label it is nobody's business.
    fn ownerless(&self, found: &BTreeMap<String, String>, created: Option<u64>) -> Option<ReapReason> {
        let owner = found.get(labels::OWNER)?;
        let live = self.policy.live_owners.as_ref()?;
        let is_old = self.age(created) > self.policy.effective_grace_ms();
        (is_old && !live.contains(owner)).then_some(ReapReason::Ownerless)
    }

    /// An object whose age is not known is young.
    fn age(&self, created: Option<u64>) -> u64 {
        created.map_or(0, |created| self.now.saturating_sub(created))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn container(owner: Option<&str>, session: &str, state: &str) -> Summary {
        let mut container = Summary {
            state: state.into(),
            created: 1_000,
            ..Summary::default()
        };
        container.labels.insert(labels::SESSION.into(), session.into());
        if let Some(owner) = owner {
            container.labels.insert(labels::OWNER.into(), owner.into());
        }
        container
    }

    fn list(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(ToString::to_string).collect())
    }

    #[rstest]
    #[case::nothing_asked(ReapPolicy::default(), Some("me"), "running", None)]
    #[case::expired(ReapPolicy { max_age_ms: Some(1), ..Default::default() }, Some("me"), "running", Some(ReapReason::Expired))]
    #[case::of_another(ReapPolicy { max_age_ms: Some(1), ..Default::default() }, Some("you"), "running", None)]
    #[case::dead_owner(ReapPolicy { live_owners: list(&["me"]), ..Default::default() }, Some("you"), "running", Some(ReapReason::Ownerless))]
    #[case::live_owner(ReapPolicy { live_owners: list(&["me"]), ..Default::default() }, Some("me"), "running", None)]
    #[case::no_label(ReapPolicy { live_owners: list(&[]), max_age_ms: Some(1), ..Default::default() }, None, "dead", None)]
    #[case::dead_session(ReapPolicy { live_sessions: list(&["t"]), ..Default::default() }, Some("me"), "running", Some(ReapReason::Ownerless))]
    #[case::young(ReapPolicy { live_sessions: list(&["t"]), grace_ms: Some(u64::MAX), ..Default::default() }, Some("me"), "running", None)]
    #[case::half_removed(ReapPolicy::default(), Some("me"), "dead", Some(ReapReason::Orphaned))]
    fn judgements(
        #[case] policy: ReapPolicy,
        #[case] owner: Option<&str>,
        #[case] state: &str,
        #[case] expected: Option<ReapReason>,
    ) {
        let judge = Judge {
            owner: "me",
            policy: &policy,
            now: 2_000_000_000,
        };
        assert_eq!(judge.container(&container(owner, "s", state)), expected);
    }
}
