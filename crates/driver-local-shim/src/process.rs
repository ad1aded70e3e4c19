//! A process to start in a container: the main one, or one of an exec.

use serde::{Deserialize, Serialize};

/// What to run, as whom, and with which rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments. A name without `/` is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment, as `NAME=value`. `HOME` is added from the passwd file where it is missing.
    pub env: Vec<String>,
    /// Absolute, inside the root.
    pub working_dir: String,
    /// As whom, and what it may do.
    pub rights: Rights,
}

/// As whom a process runs, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// As whom.
    pub identity: Identity,
    /// The capabilities to keep, as a bit mask: bounding, permitted and effective. Inheritable and ambient are cleared;
    /// permitted and effective are cleared too where the user is not 0.
    pub capabilities: u64,
    /// Whether it can never gain privileges.
    pub no_new_privileges: bool,
    /// The system call filter, if any.
    pub seccomp: Option<Bpf>,
}

/// A user, and perhaps a group, by name or number; resolved inside the container's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name or number of the user.
    pub user: String,
    /// The name or number of the group; absent: that of the user in the passwd file, else 0.
    pub group: Option<String>,
}

/// A compiled system call filter: the instructions of a `sock_fprog`, each with `code`, `jt`, `jf` and `k`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bpf(pub Vec<(u16, u8, u8, u32)>);
