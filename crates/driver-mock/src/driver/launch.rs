//! Finding a program in a container, and running it as a process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use driver_types::{SecurityOptions, TmpfsMount};

use super::MockDriver;
use crate::behavior;
use crate::fs::{Credentials, Errno, Mount, View};
use crate::kernel::{
    Context, Disposition, End, Environment, Privileges, ProcessSpec, Role, Stdio, User, environment,
    find_user, run,
};
use crate::script::{Behavior, Lie};
use crate::workload;
use crate::world::{ELF, Inner, SCRIPTED, Sandbox, locked};

/// What runs.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// The conformance suite's program.
    Workload,
    /// A program of the registry's images that has a meaning of its own, by name.
    Common(String),
    /// As a rule of the script says.
    Scripted(Behavior),
}

/// Why a program does not run.
#[derive(Debug)]
pub(crate) struct LaunchError {
    /// 127 for a missing program, 126 for one that is not executable.
    pub(crate) exit_code: Option<i32>,
    pub(crate) message: String,
}

/// A program that was found, with the privileges that its process has.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) program: Program,
    pub(crate) privileges: Arc<Privileges>,
}

/// What the start of a container with an untouched root found. It follows from the image and these parts of the config,
/// so that the next container of the same image and parts need not look again.
#[derive(Debug)]
pub(crate) struct Prepared {
    image: String,
    argv: Arc<[String]>,
    path: String,
    cwd: Arc<str>,
    user: String,
    security: SecurityOptions,
    tmpfs: Option<Vec<TmpfsMount>>,
    pub(super) found: Found,
    pub(super) user_found: User,
    /// The command line of an init in front of it.
    pub(super) init_argv: Arc<[String]>,
}

impl Program {
    /// Whether it only waits for a signal.
    fn is_idle(&self) -> bool {
        matches!(self, Self::Scripted(behavior) if behavior.is_idle())
    }

    fn dispositions(&self) -> BTreeMap<driver_types::Signal, Disposition> {
        match self {
            Self::Scripted(behavior) => behavior
                .ignore_signals
                .iter()
                .map(|signal| (*signal, Disposition::Ignore))
                .collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// Finds a program as execve(2) and the search of `PATH` do.
pub(crate) fn find_program(
    world: &Inner,
    image: &str,
    view: &View<'_>,
    argv: &[String],
    path: &str,
) -> Result<(Program, u32, u32), LaunchError> {
    if let Some(rule) = world
        .script
        .processes
        .iter()
        .find(|rule| rule.matches(image, argv))
    {
        return Ok((Program::Scripted(rule.behavior.clone()), 0o755, 0));
    }
    let name = argv.first().map_or("", String::as_str);
    let missing = |message: String| LaunchError {
        exit_code: Some(127),
        message,
    };
    let refused = |errno: Errno| LaunchError {
        exit_code: Some(if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            127
        } else {
            126
        }),
        message: format!("exec {name:?}: {errno}"),
    };
    let (file, (content, stat)) = if name.contains('/') {
        (name.to_owned(), view.program(name).map_err(refused)?)
    } else {
        path.split(':')
            .map(|dir| format!("{}/{name}", dir.trim_end_matches('/')))
            .find_map(|file| view.program(&file).ok().map(|program| (file, program)))
            .ok_or_else(|| missing(format!("exec {name:?}: executable file not found in $PATH")))?
    };
    let program = if content.starts_with(ELF) {
        Program::Workload
    } else if content.starts_with(SCRIPTED) {
        let base = file.rsplit('/').next().unwrap_or_default();
        if behavior::is_common(base) {
            Program::Common(base.to_owned())
        } else {
            Program::Scripted(Behavior::default())
        }
    } else {
        return Err(LaunchError {
            exit_code: Some(126),
            message: format!("exec {name:?}: exec format error"),
        });
    };
    Ok((program, stat.mode, stat.uid))
}

/// What a process is to be.
pub(crate) struct Launch<'a> {
    pub(crate) argv: Arc<[String]>,
    pub(crate) env: Arc<Environment>,
    /// Where programs are searched.
    pub(crate) path: &'a str,
    pub(crate) cwd: Arc<str>,
    pub(crate) user: &'a str,
}

impl MockDriver {
    /// [`prepare`](Self::prepare) for the main process of a run that is to begin.
    pub(super) fn prepare_main(
        &self,
        sandbox: &Sandbox,
        launch: &Launch<'_>,
    ) -> Result<Arc<Prepared>, LaunchError> {
        let container = &sandbox.container;
        let security = self.security_of(sandbox);
        let is_pristine = container.mounts.is_pristine();
        if is_pristine
            && let Some(prepared) = &*locked(&container.image.prepared)
            && prepared.image == container.config.image
            && prepared.argv == launch.argv
            && prepared.path == launch.path
            && prepared.cwd == launch.cwd
            && prepared.user == self.user_of_launch(launch)
            && prepared.security == *security
            && prepared.tmpfs == container.config.tmpfs
        {
            return Ok(Arc::clone(prepared));
        }
        let (mounts, _) = container.mounts.running();
        let (found, user_found) = self.prepare(sandbox, launch, &mounts)?;
        let prepared = Arc::new(Prepared {
            image: container.config.image.clone(),
            argv: Arc::clone(&launch.argv),
            path: launch.path.to_owned(),
            cwd: Arc::clone(&launch.cwd),
            user: self.user_of_launch(launch).to_owned(),
            security: security.into_owned(),
            tmpfs: container.config.tmpfs.clone(),
            init_argv: init_argv(&launch.argv),
            found,
            user_found,
        });
        if is_pristine {
            *locked(&container.image.prepared) = Some(Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    fn user_of_launch<'a>(&self, launch: &Launch<'a>) -> &'a str {
        if self.lies(Lie::RunAsRoot) {
            "0:0"
        } else {
            launch.user
        }
    }

    /// Looks the user and the program up, and checks the working directory.
    pub(super) fn prepare(
        &self,
        sandbox: &Sandbox,
        launch: &Launch<'_>,
        mounts: &[Mount],
    ) -> Result<(Found, User), LaunchError> {
        let engine = Credentials::engine();
        let view = |who| View {
            mounts,
            who,
            cwd: "/",
            umask: 0o022,
            now: 0,
        };
        let failed = |message: String| LaunchError {
            exit_code: None,
            message,
        };
        let user = find_user(&view(&engine), self.user_of_launch(launch)).map_err(failed)?;
        match view(&engine).stat(&launch.cwd, true) {
            Ok(stat) if stat.kind == "dir" => {}
            Ok(_) => {
                return Err(failed(format!(
                    "working directory {}: {}",
                    launch.cwd,
                    Errno::ENOTDIR
                )));
            }
            Err(errno) => return Err(failed(format!("working directory {}: {errno}", launch.cwd))),
        }
        let security = self.security_of(sandbox);
        let privileges = Privileges::new(&user, &security);
        let view = View {
            cwd: &launch.cwd,
            ..view(&privileges.credentials)
        };
        let (program, mode, owner) = find_program(
            &self.world,
            &sandbox.container.config.image,
            &view,
            &launch.argv,
            launch.path,
        )?;
        let privileges = Arc::new(privileges.after_exec(mode, owner));
        Ok((Found { program, privileges }, user))
    }

    fn security_of<'a>(&self, sandbox: &'a Sandbox) -> Cow<'a, SecurityOptions> {
        let mut security = Cow::Borrowed(&sandbox.container.config.security);
        if self.lies(Lie::KeepCapabilities) {
            security.to_mut().capabilities.drop.clear();
        }
        if self.lies(Lie::NoSeccomp) {
            security.to_mut().seccomp = driver_types::SeccompProfile::Unconfined;
        }
        security
    }
}

/// The environment of a process, with its user's home where nothing else says.
pub(crate) fn with_home(env: &Arc<Environment>, user: &User) -> Arc<Environment> {
    let (env, home) = (Arc::clone(env), user.home.clone());
    environment(move || {
        let mut env = (**env).clone();
        env.entry("HOME".to_owned())
            .or_insert_with(|| home.as_deref().unwrap_or("/").to_owned());
        env
    })
}

/// The command line of the init.
const INIT_ARGV: [&str; 2] = ["/sbin/docker-init", "--"];

fn init_argv(argv: &[String]) -> Arc<[String]> {
    let init = INIT_ARGV.map(str::to_owned).into_iter();
    init.chain(argv.iter().cloned()).collect()
}

impl Found {
    /// The row of the process table for it.
    pub(super) fn spec(
        &self,
        launch: &Launch<'_>,
        env: &Arc<Environment>,
        parent: u32,
        exec: u64,
        stdio: Stdio,
    ) -> ProcessSpec {
        ProcessSpec {
            parent,
            role: Role::Program,
            argv: Arc::clone(&launch.argv),
            env: Arc::clone(env),
            cwd: Arc::clone(&launch.cwd),
            privileges: Arc::clone(&self.privileges),
            stdio,
            exec,
            dispositions: self.program.dispositions(),
            memory: PROCESS_MEMORY,
        }
    }
}

/// What a small static program takes, in bytes.
pub(crate) const PROCESS_MEMORY: u64 = 64 * 1024;

/// What a program does, until its end.
pub(crate) fn program(context: Context, program: Program) -> Pin<Box<dyn Future<Output = End> + Send>> {
    match program {
        Program::Workload => Box::pin(workload::main(context)),
        Program::Common(name) => Box::pin(behavior::common(context, name)),
        Program::Scripted(behavior) => Box::pin(behavior::scripted(context, behavior)),
    }
}

/// Lets a program run as a process that is in the table. One that only waits for a signal needs no task.
pub(crate) fn execute(context: Context, found: &Program) {
    if !found.is_idle() {
        run(context.clone(), program(context, found.clone()));
    }
}
