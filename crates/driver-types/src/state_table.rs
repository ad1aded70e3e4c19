//! The state table of contract section 2, as data. Drivers, mock, docs and model tests read it from here.

use driver_errors::DriverError;

use crate::ContainerStatus;

/// A column of the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `start_container`.
    Start,
    /// `stop_container`.
    Stop,
    /// `pause_container`.
    Pause,
    /// `resume_container`.
    Resume,
    /// `remove_container` without force.
    Remove,
    /// `remove_container` with force.
    RemoveForce,
    /// The main process ends by itself.
    ProcessEnds,
}

/// A cell of the state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The container is in this status afterwards.
    To(ContainerStatus),
    /// Success, and nothing changes.
    NoOp,
    /// The container does not exist afterwards.
    Gone,
    /// `INVALID_STATE`.
    InvalidState,
    /// `CONTAINER_REMOVE_FAILED`: stop it first, or use force.
    RemoveRefused,
    /// Cannot happen: there is no process.
    Impossible,
}

impl Action {
    /// All actions, in the order of the contract.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Stop,
        Self::Pause,
        Self::Resume,
        Self::Remove,
        Self::RemoveForce,
        Self::ProcessEnds,
    ];

    /// The heading of its column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Remove => "remove",
            Self::RemoveForce => "remove force",
            Self::ProcessEnds => "process ends",
        }
    }

    /// The statuses in which this action succeeds.
    pub fn allowed(self) -> impl Iterator<Item = ContainerStatus> {
        ContainerStatus::ALL
            .into_iter()
            .filter(move |status| status.transition(self).is_success())
    }
}

impl Transition {
    /// Whether the action succeeds.
    pub fn is_success(self) -> bool {
        matches!(self, Self::To(_) | Self::NoOp | Self::Gone)
    }
}

impl ContainerStatus {
    /// What `action` does to a container in this status.
    pub fn transition(self, action: Action) -> Transition {
        use Action::*;
        use ContainerStatus as S;
        use Transition::*;
        match (self, action) {
            (S::Created | S::Stopped | S::Exited, Start) => To(S::Running),
            (S::Running, Start) => NoOp,
            (S::Paused | S::Dead | S::Removing, Start) => InvalidState,

            (S::Running | S::Paused, Stop) => To(S::Stopped),
            (S::Created | S::Stopped | S::Exited | S::Dead, Stop) => NoOp,
            (S::Removing, Stop) => InvalidState,

            (S::Running, Pause) => To(S::Paused),
            (S::Paused, Pause) => NoOp,
            (S::Running, Resume) => NoOp,
            (S::Paused, Resume) => To(S::Running),
            (_, Pause | Resume) => InvalidState,

            (S::Running | S::Paused, Remove) => RemoveRefused,
            (_, Remove | RemoveForce) => Gone,

            (S::Running | S::Paused, ProcessEnds) => To(S::Exited),
            (_, ProcessEnds) => Impossible,
        }
    }

    /// What `action` does, with a refusal as the typed error of the contract.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE` with this status and the legal ones, or `CONTAINER_REMOVE_FAILED` for a live container that
    /// is removed without force.
    pub fn check(self, id: &str, action: Action) -> Result<Transition, DriverError> {
        match self.transition(action) {
            Transition::InvalidState | Transition::Impossible => {
                Err(DriverError::invalid_state(id, self, action.allowed()))
            }
            Transition::RemoveRefused => {
                let message = format!("it is {self}; stop it first, or remove it with force");
                Err(DriverError::container_remove(id, message))
            }
            transition => Ok(transition),
        }
    }
}
