//! The messages between `driver-local` and the shim, the small static program that does its container work; and the work
//! on files that both do, each where it has the rights.
//!
//! The driver spawns the shim with a Unix stream socket as stdin and sends one [`Task`]. The shim answers with
//! [`Report`]s. Both are a length (four bytes, big endian) and a `postcard` body. Driver and shim are always of the same
//! build, so this encoding has no versions; what outlives a driver (journal, log, `shim.sock`) has.
//!
//! ```
//! use driver_local_shim::{Report, decode, encode};
//!
//! let mut wire = encode(&Report::Ready);
//! assert_eq!(decode::<Report>(&mut wire.as_slice()).unwrap(), Report::Ready);
//! ```
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod kernel;
mod limits;
pub mod log;
mod message;
mod process;
mod quota;
pub mod record;
#[cfg(target_os = "linux")]
mod remove;
#[cfg(target_os = "linux")]
pub mod rootfs;
mod sandbox;
#[cfg(target_os = "linux")]
pub mod tarball;
mod task;

#[cfg(target_os = "linux")]
pub use attach::{Answer, Request, SOCKET, attach, close_stdin};
#[cfg(target_os = "linux")]
pub use driver_exec_guard::stat::{start_time, zombie_status};
#[cfg(target_os = "linux")]
pub use kernel::{kernel_version, running_kernel};
pub use limits::Limits;
pub use message::{MAX_MESSAGE, decode, encode};
pub use process::{Bpf, Identity, Process, Rights};
pub use quota::{PROJECTS, QuotaChange, QuotaTask};
#[cfg(target_os = "linux")]
pub use remove::{names_in, remove_all};
pub use sandbox::{
    Cgroup, IdMap, Mount, MountSource, NetworkHelper, NetworkNamespace, Root, Sandbox, UdpPort,
    UserNamespace, Writable,
};
pub use task::{
    AdoptTask, ExecTarget, ExecTask, FileTask, FileWork, HoldTask, JoinTask, LAYER_ROOT, LogPolicy,
    RemoveTask, Report, RunCgroups, RunTask, Stage, Task,
};
