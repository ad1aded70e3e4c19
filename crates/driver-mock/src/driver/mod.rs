//! The driver on a simulated world.

mod contract;
mod create;
mod exec;
mod files;
mod handle;
mod healthcheck;
mod images;
mod launch;
mod lifecycle;
mod objects;
mod query;
mod recover;
#[cfg(test)]
mod tests;
mod watch;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use driver_state::Scope;
use driver_types::{
    Capabilities, ContainerInstance, ContainerStatus, Deadlines, DriverError, ExitReason, Operation, Result,
    labels,
};

pub(crate) use launch::{PROCESS_MEMORY, Prepared, find_program, program};

use crate::World;
use crate::script::Lie;
use crate::world::{Container, Inner, Outcome, Sandbox, inner_sandbox, locked};

/// How to open a driver.
#[derive(Clone, Debug)]
pub struct MockOptions {
    /// Whose objects it sees: the rules of a session id.
    pub owner: String,
    /// The deadlines of its operations.
    pub deadlines: Deadlines,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self {
            owner: labels::DEFAULT_OWNER.to_owned(),
            deadlines: Deadlines::default(),
        }
    }
}

impl MockOptions {
    /// For an owner, with the default deadlines.
    pub fn owner(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            ..Self::default()
        }
    }
}

/// A container driver without containers: everything happens in a [`World`].
///
/// Dropping it changes nothing in the world. See the [crate's documentation](crate).
#[derive(Debug)]
pub struct MockDriver {
    world: Arc<Inner>,
    owner: Arc<str>,
    deadlines: Deadlines,
    capabilities: Capabilities,
    closed: AtomicBool,
    /// For the lie that forgets what was before: containers that this driver made have a higher sequence.
    opened_at: u64,
    names: AtomicU64,
}

impl MockDriver {
    /// Opens a driver on a world.
    ///
    /// # Errors
    ///
    /// A configuration error for an owner that is not valid. An engine that is down is found out by the first call.
    pub fn open(world: &World, options: MockOptions) -> Result<Self> {
        driver_validation::validate_owner(&options.owner)?;
        let world = Arc::clone(&world.0);
        let owner: Arc<str> = options.owner.into();
        locked(&world.owners).insert(Arc::clone(&owner));
        let first = {
            let mut open = locked(&world.open_drivers);
            let count = open.entry(owner.to_string()).or_default();
            *count += 1;
            *count == 1
        };
        let capabilities = world.capabilities();
        let driver = Self {
            opened_at: world.clock.now_ms(),
            world,
            owner,
            deadlines: options.deadlines,
            capabilities,
            closed: AtomicBool::new(false),
            names: AtomicU64::new(0),
        };
        if first
            && !driver
                .capabilities
                .supports(driver_types::Capability::DurableStopReason)
        {
            driver.forget_stops();
        }
        Ok(driver)
    }

    /// The world that it works on.
    pub fn world(&self) -> World {
        World(Arc::clone(&self.world))
    }

    fn scope(&self) -> Scope<'_> {
        if self.lies(Lie::IgnoreOwner) {
            Scope::All
        } else {
            Scope::Owner(&self.owner)
        }
    }

    fn lies(&self, lie: Lie) -> bool {
        self.world.lies(lie)
    }

    /// What an engine that does not remember who ended a container tells a driver that does not either.
    fn forget_stops(&self) {
        let stopped = driver_types::ContainerFilter {
            status: vec![ContainerStatus::Stopped],
            ..Default::default()
        };
        for instance in self.world.containers.list(Scope::Owner(&self.owner), &stopped) {
            // Gone meanwhile is fine.
            let _ = self
                .world
                .containers
                .update(Scope::All, &instance.id, |container| {
                    *container.status = ContainerStatus::Exited;
                    if let Some(exit) = container.exit.as_mut() {
                        exit.reason = match exit.signal {
                            Some(_) => ExitReason::Signaled,
                            None => ExitReason::Exited,
                        };
                    }
                });
        }
    }

    /// A container of this driver's owner.
    fn sandbox(&self, id: &str) -> Result<Sandbox> {
        self.find(id).map(|(sandbox, _)| sandbox)
    }

    fn find(&self, id: &str) -> Result<(Sandbox, Arc<ContainerInstance>)> {
        let found = self.world.containers.read(self.scope(), id, |record| {
            (Arc::clone(&record.data), Arc::clone(&record.instance))
        });
        let (container, instance) = found.ok_or_else(|| DriverError::container_not_found(id))?;
        if self.forgets(&instance) {
            return Err(DriverError::container_not_found(id));
        }
        Ok((self.sandbox_of(container), instance))
    }

    fn sandbox_of(&self, container: Arc<Container>) -> Sandbox {
        inner_sandbox(&self.world, container)
    }

    fn forgets(&self, instance: &ContainerInstance) -> bool {
        self.lies(Lie::ForgetOnReopen) && instance.created_at < self.opened_at
    }

    /// An operation: the way there with its delays and faults, the effect, the way back, all within the deadline.
    async fn call<T>(
        &self,
        operation: Operation,
        more_time: Duration,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.call_with(operation, more_time, |_| effect).await
    }

    /// The same for an effect that can stop half-way.
    async fn call_with<T, F: Future<Output = Result<T>>>(
        &self,
        operation: Operation,
        more_time: Duration,
        effect: impl FnOnce(bool) -> F,
    ) -> Result<T> {
        let deadline = self.deadlines.get(operation).map(|deadline| deadline + more_time);
        // Pinned where it is made: a future that is handed on takes its room once more in each that it is handed to.
        let whole = pin!(async {
            if self.closed.load(Ordering::SeqCst) && operation != Operation::Shutdown {
                return Err(DriverError::network("this driver was shut down; open another one").permanent());
            }
            let outcome = self.world.enter(operation).await?;
            let result = effect(outcome == Outcome::Partial).await;
            match outcome {
                Outcome::DropReply => Err(DriverError::network("the connection broke before the reply came")),
                Outcome::Normal | Outcome::Partial => result,
            }
        });
        let result = match self.world.clock.limit(deadline, whole).await {
            Some(result) => result,
            None => {
                let ms = deadline.map_or(0, |deadline| {
                    u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)
                });
                Err(DriverError::timeout(operation.name(), ms))
            }
        };
        result.map_err(|error| self.signed(error, operation))
    }

    fn signed(&self, error: DriverError, operation: Operation) -> DriverError {
        let error = if self.lies(Lie::UntypedErrors) {
            DriverError::internal(error.to_string())
        } else {
            error
        };
        error
            .with_operation(operation.name())
            .with_driver(self.world.profile.name())
    }
}

impl Drop for MockDriver {
    fn drop(&mut self) {
        if let Some(count) = locked(&self.world.open_drivers).get_mut(&*self.owner) {
            *count -= 1;
        }
    }
}
