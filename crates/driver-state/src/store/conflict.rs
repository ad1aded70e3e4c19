//! Why a container cannot be put into the store.

use driver_types::DriverError;

/// Something that must be unique is taken already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another container of the owner has the name, or is being made with it.
    Name {
        /// The name.
        name: String,
        /// The id of the container that has it; `None` while that one is being made.
        holder: Option<String>,
    },
    /// Another container of the owner was made by this request, or is being made.
    RequestId {
        /// The request id.
        request_id: String,
        /// The id of the container that has it; `None` while that one is being made.
        holder: Option<String>,
    },
    /// A container with this id exists.
    Id {
        /// The id.
        id: String,
    },
    /// The store was cleared while the container was being made.
    Cleared,
}

/// The error of a create that cannot use the conflict for anything better.
impl From<Conflict> for DriverError {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Name { name, holder } => {
                let holder = match holder {
                    Some(id) => format!("container {id}"),
                    None => "a container that is being created".to_owned(),
                };
                Self::container_creation(format!(
                    "the name `{name}` is taken by {holder}; choose another, or remove that container"
                ))
                .permanent()
            }
            Conflict::RequestId {
                request_id,
                holder: Some(id),
            } => Self::configuration(format!(
                "the request id `{request_id}` made container {id}; use another one for another container"
            )),
            Conflict::RequestId {
                request_id,
                holder: None,
            } => Self::container_creation(format!(
                "request `{request_id}` is being handled; repeat it later"
            )),
            Conflict::Id { id } => Self::internal(format!("the new id {id} is taken")),
            Conflict::Cleared => Self::container_creation("the driver was reset meanwhile"),
        }
    }
}
