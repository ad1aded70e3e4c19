//! From a spec to the shim's task: what a container's processes see and may do.

use std::collections::BTreeMap;

use driver_exec_guard::client;
use driver_local_shim::{
    AdoptTask, ExecTarget, ExecTask, Identity, LogPolicy, Mount, MountSource, NetworkNamespace, Process,
    Rights, Root, RunTask, Sandbox, Writable,
};
use driver_types::{ContainerConfig, Env, ExecSpec, MountType, ResourceLimits, Result, SeccompProfile};

use crate::container::Container;
use crate::core::Core;
use crate::journal::Run;
use crate::mountpoints;
use crate::process;
use crate::seccomp;
use crate::spec::Spec;

/// What every process finds where neither image nor config say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The size of /dev/shm, as Docker gives it.
pub(crate) const SHM_BYTES: u64 = 64 << 20;

/// The task of a run.
pub(crate) fn run_task(
    core: &Core,
    container: &Container,
    run: u32,
    network: Option<NetworkNamespace>,
) -> RunTask {
    let Container { spec, dir, .. } = container;
    let config = &spec.config;
    RunTask {
        directory: text(dir.path()),
        run,
        boot_id: process::boot_id().to_owned(),
        sandbox: Sandbox {
            network: network.unwrap_or_else(|| network_namespace(&spec.config)),
            ..sandbox(core, container)
        },
        cgroups: core.cgroups.of(container.cgroup()),
        process: Process {
            argv: argv(spec),
            env: environment(spec, &Env::default(), config.tty),
            working_dir: working_dir(spec).to_owned(),
            rights: rights(spec, &config.security.user),
        },
        init: config.init,
        stdin: config.stdin,
        tty: config.tty,
        log: log_policy(core),
    }
}

/// The task of a shim that goes on where the one of a run was killed.
pub(crate) fn adopt_task(core: &Core, container: &Container, run: &Run) -> AdoptTask {
    AdoptTask {
        directory: text(container.dir.path()),
        run: run.number,
        init_pid: run.init.pid,
        init_start_time: run.init.start_time,
        cgroups: core.cgroups.of(container.cgroup()),
        tty: container.spec.config.tty,
        log: log_policy(core),
    }
}

fn log_policy(core: &Core) -> LogPolicy {
    LogPolicy {
        max_file_bytes: core.options.log_file_bytes,
        max_files: core.options.log_files,
    }
}

/// The task of an exec.
///
/// # Errors
///
/// `INVALID_STATE` in any status but running.
pub(crate) fn exec_task(core: &Core, container: &Container, exec: &ExecSpec) -> Result<ExecTask> {
    let run = container.running()?;
    Ok(ExecTask {
        target: ExecTarget {
            init_pid: run.init.pid,
            init_start_time: run.init.start_time,
            user_namespace: core.rootless.is_some(),
            cgroups: core.cgroups.of(container.cgroup()),
        },
        process: exec_process(&container.spec, exec),
        guard_arguments: client::arguments(exec),
    })
}

fn exec_process(spec: &Spec, exec: &ExecSpec) -> Process {
    let user = exec.user.as_deref().unwrap_or(&spec.config.security.user);
    let working_dir = exec.working_dir.as_deref().unwrap_or_else(|| working_dir(spec));
    Process {
        argv: exec.command.clone(),
        env: environment(spec, &exec.env, exec.tty),
        working_dir: working_dir.to_owned(),
        rights: rights(spec, user),
    }
}

/// What surrounds the processes, also of a container that only holds its files.
pub(crate) fn sandbox(core: &Core, container: &Container) -> Sandbox {
    let Container { spec, dir, .. } = container;
    let config = &spec.config;
    // The root itself is that of a writable layer, or like one.
    let top = config.security.read_only.then(|| text(&core.layout.top()));
    let lowest = [text(&core.layout.mountpoints())];
    let layers = top
        .into_iter()
        .chain(spec.image.layers.iter().cloned())
        .chain(lowest);
    let writable = (!config.security.read_only).then(|| Writable {
        upper: text(&dir.disk().join("upper")),
        work: text(&dir.disk().join("work")),
    });
    let of_host = spec.image.host_paths.iter().map(|path| Mount {
        target: path.clone(),
        source: MountSource::Bind(path.clone()),
        read_only: true,
    });
    let etc = mountpoints::ETC.map(|name| Mount {
        target: format!("/etc/{name}"),
        source: MountSource::Bind(text(&dir.etc().join(name))),
        read_only: config.security.read_only,
    });
    let volumes = config.volumes.iter().map(|volume| Mount {
        target: volume.target.clone(),
        source: MountSource::Bind(match volume.effective_type() {
            MountType::Bind => volume.source.clone(),
            MountType::Volume => text(&core.volumes.data(&volume.source)),
        }),
        read_only: volume.read_only,
    });
    let tmpfs = config.effective_tmpfs().iter().map(|tmpfs| Mount {
        target: tmpfs.target.clone(),
        source: MountSource::Tmpfs {
            bytes: tmpfs.size_mib.saturating_mul(ResourceLimits::MIB),
            mode: 0o1777,
        },
        read_only: false,
    });
    // A mount above another one has to come first.
    let mut mounts: Vec<Mount> = of_host.chain(etc).chain(volumes).chain(tmpfs).collect();
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
    Sandbox {
        hostname: hostname(spec).to_owned(),
        network: network_namespace(config),
        user: core.rootless.as_ref().map(|rootless| rootless.namespace.clone()),
        root: Root {
            lower: layers.collect(),
            writable,
        },
        mounts,
        working_dir: working_dir(spec).to_owned(),
        shm_bytes: SHM_BYTES,
    }
}

/// The host's or an empty one, where none was made for the run.
fn network_namespace(config: &ContainerConfig) -> NetworkNamespace {
    match config.network.as_str() {
        ContainerConfig::NETWORK_HOST => NetworkNamespace::Host,
        _ => NetworkNamespace::New,
    }
}

/// The host name: the config's, else the first twelve digits of the id, as Docker has it.
pub(crate) fn hostname(spec: &Spec) -> &str {
    spec.config.hostname.as_deref().unwrap_or(&spec.id[..12])
}

/// The program and its arguments. An entrypoint of the config leaves the image's command out.
pub(crate) fn argv(spec: &Spec) -> Vec<String> {
    let (config, image) = (&spec.config, &spec.image);
    let entrypoint = config.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let command = match &config.command {
        Some(command) => command.as_slice(),
        None if config.entrypoint.is_some() => &[],
        None => &image.command,
    };
    entrypoint.iter().chain(command).cloned().collect()
}

fn working_dir(spec: &Spec) -> &str {
    let of_config = spec.config.working_dir.as_deref();
    of_config.or(spec.image.working_dir.as_deref()).unwrap_or("/")
}

/// PATH, then the image's variables, then the config's, then those of an exec; the later wins.
fn environment(spec: &Spec, exec: &Env, tty: bool) -> Vec<String> {
    let mut variables: BTreeMap<&str, &str> = BTreeMap::new();
    variables.insert("PATH", PATH);
    variables.insert("HOSTNAME", hostname(spec));
    if tty {
        variables.insert("TERM", "xterm");
    }
    variables.extend(
        spec.image
            .env
            .iter()
            .filter_map(|variable| variable.split_once('=')),
    );
    let given = spec.config.env.iter().chain(exec.iter());
    variables.extend(given.map(|(name, value)| (name.as_str(), value.as_str())));
    variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// What a process of this container may do as this user.
fn rights(spec: &Spec, user: &str) -> Rights {
    let security = &spec.config.security;
    let capabilities = security.capabilities.mask();
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group.to_owned())),
        None => (user, None),
    };
    Rights {
        identity: Identity {
            user: user.to_owned(),
            group,
        },
        capabilities,
        no_new_privileges: security.no_new_privileges,
        seccomp: match security.seccomp {
            SeccompProfile::Default => Some(seccomp::default_filter(capabilities).as_ref().clone()),
            SeccompProfile::Unconfined => None,
        },
    }
}

/// A path of the state directory, which `Core::open` keeps to UTF-8.
fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
