//! A container as it is now: its spec, its place on disk, and what its journal says.

use std::sync::Arc;

use driver_types::{Action, ContainerStatus, DriverError, Result};

use crate::journal::{Run, Story};
use crate::layout::ContainerDir;
use crate::spec::Spec;

/// A look at a container. It does not change afterwards; [`Containers`](crate::containers::Containers) gives a new one.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) spec: Arc<Spec>,
    pub(crate) dir: ContainerDir,
    pub(crate) story: Story,
}

impl Container {
    pub(crate) fn id(&self) -> &str {
        &self.spec.id
    }

    /// The name of its cgroups.
    pub(crate) fn cgroup(&self) -> &str {
        self.story.cgroup.as_deref().unwrap_or(self.id())
    }

    pub(crate) fn status(&self) -> ContainerStatus {
        self.story.status()
    }

    /// The run of a container with a process, running or frozen.
    pub(crate) fn live(&self) -> Option<&Run> {
        let alive = self.status().is_alive();
        self.story.run.as_ref().filter(|_| alive)
    }

    /// The run whose end is not in the journal, whether its processes live or were lost.
    pub(crate) fn unfinished(&self) -> Option<&Run> {
        self.story.run.as_ref().filter(|run| run.exit.is_none())
    }

    /// The run of a container that is not frozen either.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE` for any other status.
    pub(crate) fn running(&self) -> Result<&Run> {
        let status = self.status();
        match &self.story.run {
            Some(run) if status == ContainerStatus::Running => Ok(run),
            _ => Err(DriverError::invalid_state(
                self.id(),
                status,
                [ContainerStatus::Running],
            )),
        }
    }

    /// The legal transition of an action in this status, else the typed refusal.
    pub(crate) fn check(&self, action: Action) -> Result<driver_types::Transition> {
        self.status().check(self.id(), action)
    }
}
