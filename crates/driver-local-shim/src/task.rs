//! What the shim is asked to do, and what it answers.

use serde::{Deserialize, Serialize};

use crate::{Cgroup, Limits, Process, QuotaTask, Rights, Sandbox, UserNamespace};

/// The message to a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Make a container and watch its run to the end. One byte more follows when its cgroups are there: [`RunCgroups`].
    Run(Box<RunTask>),
    /// Run a process in a container, as the exec guard. After [`Report::Ready`] the socket speaks the guard's protocol
    /// (`driver-exec-guard`).
    Exec(Box<ExecTask>),
    /// Join a container ahead of an exec. Unless the socket is closed, one [`Task::Exec`] follows. A process that cannot serve
    /// it, as it is for another container or other rights, or for what only another process can tell, ends without a word:
    /// nothing was started.
    Join(Box<JoinTask>),
    /// Make the root file system of a container that does not run, and hold it until the socket is closed.
    Hold(Box<HoldTask>),
    /// Remove a directory in which are files of the ids of a user namespace.
    Remove(Box<RemoveTask>),
    /// Pack or unpack files of the ids of a user namespace. Two bytes follow, each with a descriptor: the root directory, and
    /// the end of a pipe that the tar is written to or read from.
    Files(Box<FileTask>),
    /// Hold what is below a directory to a limit, by a project quota of its file system.
    Quota(Box<QuotaTask>),
    /// Go on where the shim of a run was killed: with a container that lives, or with what there is to tell of its end.
    Adopt(Box<AdoptTask>),
    /// Fork shims, until the socket is closed: every further byte on it has a socket with it, which is the one of a new
    /// shim that waits for its task. Cheaper than to execute the program each time.
    ForkServer,
    /// Make ahead of a run what no config changes: its namespaces, with /proc, /sys and /dev. Unless the socket is closed, one
    /// [`Task::Run`] follows.
    Prepare {
        /// The cgroups to be in already. Removed by the shim where no run comes.
        cgroups: Vec<Cgroup>,
        /// The size of /dev/shm in bytes. A run with another is not served.
        shm_bytes: u64,
    },
}

/// What became of the cgroups of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunCgroups {
    /// They were made, and are to be joined.
    Made = 1,
    /// They are those of [`Task::Prepare`], which are the container's now; those of version 1 have its name.
    Taken = 2,
}

/// A run of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTask {
    /// The container's directory in the state directory. The shim takes `shim.lock` in it, makes the FIFOs and
    /// `shim.sock`, writes `log/` and appends to `journal`.
    pub directory: String,
    /// The number of the run, from 0: what the shim's journal records carry.
    pub run: u32,
    /// The id of this boot of the machine, which the record of the start carries.
    pub boot_id: String,
    /// What surrounds the processes.
    pub sandbox: Sandbox,
    /// The cgroups to join; removed by the shim after the end.
    pub cgroups: Vec<Cgroup>,
    /// The main process.
    pub process: Process,
    /// Whether a pid 1 of the shim's runs above the main process.
    pub init: bool,
    /// Whether stdin stays open; else it is /dev/null.
    pub stdin: bool,
    /// Whether the main process has a terminal.
    pub tty: bool,
    /// How the log is kept.
    pub log: LogPolicy,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPolicy {
    /// The size in bytes at which a new file is begun.
    pub max_file_bytes: u64,
    /// How many files are kept; the oldest is deleted. At least 1.
    pub max_files: u32,
}

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecTarget {
    /// The pid of the container's first process, in the driver's pid namespace.
    pub init_pid: i32,
    /// When that process was started, in clock ticks after boot (field 22 of `/proc/PID/stat`): another number means
    /// that it is another process.
    pub init_start_time: u64,
    /// Whether the container has a user namespace of its own to join.
    pub user_namespace: bool,
    /// The cgroups of the container.
    pub cgroups: Vec<Cgroup>,
}

/// A running container, and the rights that a process is to have in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTask {
    /// The container.
    pub target: ExecTarget,
    /// The rights.
    pub rights: Rights,
}

/// A process in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecTask {
    /// The container.
    pub target: ExecTarget,
    /// The process.
    pub process: Process,
    /// The arguments of the exec guard before `--`.
    pub guard_arguments: Vec<String>,
}

impl ExecTask {
    /// What can be done ahead of it.
    pub fn joining(&self) -> JoinTask {
        JoinTask {
            target: self.target.clone(),
            rights: self.process.rights.clone(),
        }
    }
}

/// A run whose shim was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptTask {
    /// As [`RunTask::directory`].
    pub directory: String,
    /// As [`RunTask::run`].
    pub run: u32,
    /// As [`ExecTarget::init_pid`].
    pub init_pid: i32,
    /// As [`ExecTarget::init_start_time`].
    pub init_start_time: u64,
    /// As [`RunTask::cgroups`].
    pub cgroups: Vec<Cgroup>,
    /// As [`RunTask::tty`].
    pub tty: bool,
    /// As [`RunTask::log`].
    pub log: LogPolicy,
}

/// A root file system to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldTask {
    /// The root and the mounts; namespaces of it are not made, /proc, /sys and /dev are empty.
    pub sandbox: Sandbox,
}

/// Something to remove. Only who may act for all its owners can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveTask {
    /// The namespace with the ids of the owners.
    pub user: UserNamespace,
    /// The directory above.
    pub directory: String,
    /// What is removed, with all that is in it; one name.
    pub name: String,
}

/// The directory with the content of a layer, in that of the layer.
pub const LAYER_ROOT: &str = "root";

/// Work on files. Only who may act for all their owners can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTask {
    /// The namespace with the ids of the owners.
    pub user: UserNamespace,
    /// What is to be done.
    pub work: FileWork,
}

/// What is done below a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileWork {
    /// Unpack the layer of an image into [`LAYER_ROOT`] of the directory.
    UnpackLayer(Limits),
    /// Unpack into this directory.
    UnpackCopy(String),
    /// Pack the writable layer of a container.
    PackLayer,
    /// Pack what is at this path.
    PackCopy(String),
}

/// What the shim answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Run: the main process has been executed, and `started` is in the journal. Adopt: the container lives, and `adopted` is in
    /// the journal. The shim needs the socket no more.
    Started {
        /// The pid of the container's first process in the driver's pid namespace.
        init_pid: i32,
        /// Its start time, as in [`ExecTarget::init_start_time`].
        init_start_time: u64,
    },
    /// Exec: the process is in the container; from here on the socket speaks the guard's protocol. Adopt: the container had
    /// ended; its end is in the journal. Remove: nothing is there any more. Quota: it is so. Files: what
    /// is to be packed, or unpacked into, is there; another report follows at the end.
    Ready,
    /// Hold: the root is there, as the root directory of this process.
    Holding {
        /// The shim's pid in the driver's pid namespace.
        pid: i32,
    },
    /// Files: it is done.
    Worked {
        /// How many bytes the files of an unpacked layer have.
        bytes: u64,
    },
    /// Nothing was started, and nothing is left of it but what the driver made. Of unpacked files, those are left that came
    /// before.
    Failed {
        /// Where it failed.
        stage: Stage,
        /// The exit code that a shell would give: 127 for a missing program, 126 for one that cannot be executed.
        exit_code: Option<u8>,
        /// The error number, if the kernel refused something.
        errno: Option<i32>,
        /// What failed, with names.
        message: String,
    },
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Reading the task, locks, FIFOs.
    Prepare,
    /// Making or joining namespaces.
    Namespaces,
    /// Joining cgroups.
    Cgroups,
    /// The root file system and its mounts.
    Root,
    /// User, groups, capabilities, system call filter.
    Privileges,
    /// The working directory.
    WorkingDir,
    /// The program.
    Exec,
}
