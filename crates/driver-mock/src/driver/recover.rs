//! `recover`, `reap` and `shutdown`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use driver_state::Scope;
use driver_types::{
    ContainerFilter, ContainerInstance, ObjectKind, ObjectRef, ReapFailure, ReapPolicy, ReapReason,
    ReapReport, Reaped, RecoveryReport, RemoveOptions, Result, ShutdownMode, StopOptions,
};

use super::MockDriver;
use crate::script::Lie;
use crate::world::{Container, locked};

fn reference(kind: ObjectKind, id: &str) -> ObjectRef {
    ObjectRef {
        kind,
        id: id.to_owned(),
    }
}

/// Something that may be reaped.
struct Candidate {
    object: ObjectRef,
    owner: Arc<str>,
    reason: ReapReason,
}

impl MockDriver {
    pub(super) fn do_recover(&self) -> RecoveryReport {
        let mut report = RecoveryReport::default();
        for container in self.do_list(&ContainerFilter::default()) {
            if container.status.has_ended() {
                report.exited.push(container);
            } else {
                report.adopted.push(container);
            }
        }
        report.orphaned = self
            .half_made()
            .iter()
            .map(|container| reference(ObjectKind::Container, &container.id))
            .collect();
        report
    }

    fn half_made(&self) -> Vec<Arc<Container>> {
        let partial = locked(&self.world.partial);
        let own = partial.values().filter(|container| container.owner == self.owner);
        own.cloned().collect()
    }

    pub(super) async fn do_reap(&self, policy: &ReapPolicy) -> Result<ReapReport> {
        driver_validation::validate_reap_policy(policy)?;
        let mut report = ReapReport {
            dry_run: policy.dry_run,
            ..ReapReport::default()
        };
        for candidate in self.containers_to_reap(policy) {
            self.reap_one(candidate, &mut report);
        }
        // Volumes and networks after the containers that used them.
        for candidate in self.objects_to_reap(policy) {
            self.reap_one(candidate, &mut report);
        }
        Ok(report)
    }

    fn containers_to_reap(&self, policy: &ReapPolicy) -> Vec<Candidate> {
        let now = self.world.clock.now_ms();
        let everything = ContainerFilter {
            all_owners: true,
            ..ContainerFilter::default()
        };
        let judge = |owner: &Arc<str>, instance: &ContainerInstance| {
            let age = now.saturating_sub(instance.created_at);
            let own = *owner == self.owner;
            let expired = own && policy.max_age_ms.is_some_and(|most| age > most);
            let old_enough = age >= policy.effective_grace_ms();
            let dead_owner = !own
                && policy
                    .live_owners
                    .as_ref()
                    .is_some_and(|live| !live.iter().any(|name| **name == **owner));
            let sessions = policy.live_sessions.as_ref();
            let dead_session = own && sessions.is_some_and(|live| !live.contains(&instance.session_id));
            if expired {
                Some(ReapReason::Expired)
            } else if old_enough && (dead_owner || dead_session) {
                Some(ReapReason::Ownerless)
            } else {
                None
            }
        };
        let judged = self.world.containers.read_all(Scope::All, &everything, |record| {
            judge(&record.owner, &record.instance).map(|reason| Candidate {
                object: reference(ObjectKind::Container, &record.instance.id),
                owner: Arc::clone(&record.owner),
                reason,
            })
        });
        let orphans = self.half_made().into_iter().map(|container| Candidate {
            object: reference(ObjectKind::Container, &container.id),
            owner: Arc::clone(&container.owner),
            reason: ReapReason::Orphaned,
        });
        let orphans = orphans.filter(|orphan| {
            now.saturating_sub(self.partial_age(&orphan.object.id)) >= policy.effective_grace_ms()
        });
        judged.into_iter().flatten().chain(orphans).collect()
    }

    /// When a half-made container was made.
    fn partial_age(&self, id: &str) -> u64 {
        locked(&self.world.partial)
            .get(id)
            .map_or(0, |container| container.made_at)
    }

    /// Unused volumes and networks of owners that do not live.
    fn objects_to_reap(&self, policy: &ReapPolicy) -> Vec<Candidate> {
        let Some(live) = &policy.live_owners else {
            return Vec::new();
        };
        let now = self.world.clock.now_ms();
        let old = |created_at: u64| now.saturating_sub(created_at) >= policy.effective_grace_ms();
        let dead = |owner: &Arc<str>| *owner != self.owner && !live.iter().any(|name| **name == **owner);
        let candidate = |kind, owner: &Arc<str>, id: &str| Candidate {
            object: reference(kind, id),
            owner: Arc::clone(owner),
            reason: ReapReason::Ownerless,
        };
        let mut candidates = Vec::new();
        let owners: Vec<Arc<str>> = locked(&self.world.owners).iter().cloned().collect();
        for owner in owners.iter().filter(|owner| dead(owner)) {
            let scope = Scope::Owner(owner);
            for volume in self.world.volumes.list(scope) {
                let used = self
                    .world
                    .volumes
                    .users(scope, &volume.id)
                    .is_ok_and(|users| !users.is_empty());
                if old(volume.created_at) && !used {
                    candidates.push(candidate(ObjectKind::Volume, owner, &volume.id));
                }
            }
            for network in self.world.networks.list(scope) {
                let used = self
                    .world
                    .networks
                    .users(scope, &network.id)
                    .is_ok_and(|users| !users.is_empty());
                if old(network.created_at) && !used {
                    candidates.push(candidate(ObjectKind::Network, owner, &network.id));
                }
            }
        }
        candidates
    }

    fn reap_one(&self, candidate: Candidate, report: &mut ReapReport) {
        if !report.dry_run
            && let Err(error) = self.reap_now(&candidate)
        {
            let object = candidate.object;
            report.failed.push(ReapFailure { object, error });
            return;
        }
        report.removed.push(Reaped {
            object: candidate.object,
            reason: candidate.reason,
        });
    }

    fn reap_now(&self, candidate: &Candidate) -> Result<()> {
        let id = &candidate.object.id;
        let scope = Scope::Owner(&candidate.owner);
        match candidate.object.kind {
            ObjectKind::Container => {
                let half_made = locked(&self.world.partial).remove(id);
                if let Some(container) = half_made {
                    self.world.volumes.release(&container.id);
                    self.world.networks.release(&container.id);
                } else if let Some(container) = self
                    .world
                    .containers
                    .read(scope, id, |record| Arc::clone(&record.data))
                {
                    self.remove_now(&self.sandbox_of(container));
                }
            }
            ObjectKind::Volume => {
                let volume = self.world.volumes.remove(scope, id)?;
                locked(&self.world.volume_trees).remove(&volume.id);
            }
            ObjectKind::Network => {
                let network = self.world.networks.remove(scope, id)?;
                self.world.switchboard.remove_network(&network.id);
            }
            ObjectKind::Image => {}
        }
        Ok(())
    }

    pub(super) async fn do_shutdown(&self, mode: ShutdownMode) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let own = self
            .world
            .containers
            .list(Scope::Owner(&self.owner), &ContainerFilter::default());
        for container in own.iter().filter(|_| !self.lies(Lie::ForgetOnReopen)) {
            let result = match mode {
                ShutdownMode::Leave => Ok(()),
                ShutdownMode::Stop => self.do_stop(&container.id, &StopOptions::default()).await,
                ShutdownMode::Remove => self.do_remove(&container.id, &RemoveOptions::force()).await,
            };
            match result {
                Err(error) if error.code() != "CONTAINER_NOT_FOUND" => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
