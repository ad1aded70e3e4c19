//! `exec` and `exec_stream`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use driver_types::{
    ContainerStatus, DriverError, ExecResult, ExecSpec, ProcessFrame, ProcessHandle, Result, Signal,
    TerminalSize,
};
use tokio::sync::{mpsc, watch};

use super::MockDriver;
use super::handle::{ExecControl, exec_frames};
use super::launch::{Launch, execute, with_home};
use crate::kernel::{Context, End, Output, Pipe, Stdio, Terminal, environment};
use crate::script::Lie;
use crate::world::Sandbox;

/// Frames that a reader may be behind before it holds the process back.
const FRAMES: usize = 64;

/// Between SIGTERM and SIGKILL at a time-out.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// A process that an exec started, and all that it starts.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) sandbox: Sandbox,
    pub(super) run: u64,
    pub(super) pid: u32,
    /// Its number, which its children share.
    pub(super) number: u64,
    pub(super) exit: watch::Receiver<Option<End>>,
    pub(super) stdin: Option<Arc<Pipe>>,
    pub(super) terminal: Option<Arc<Terminal>>,
}

/// What came of an exec.
pub(super) enum Started {
    Process(Exec, mpsc::Receiver<ProcessFrame>),
    /// It could not run, with the exit code of a shell and what a shell would say.
    NotExecutable(i32, String),
}

impl Sandbox {
    pub(crate) fn next_exec(&self) -> u64 {
        1 + self.container.execs.fetch_add(1, Ordering::Relaxed)
    }
}

impl Exec {
    /// Sends a signal to the process and all that it started.
    pub(super) fn signal_tree(&self, signal: Signal) {
        self.sandbox.with_kernel(|kernel, now| {
            if kernel.run == self.run {
                kernel.signal_exec(now, self.number, signal);
            }
        });
    }

    /// Whether anything of it lives.
    fn is_alive(&self) -> bool {
        self.sandbox.with_kernel(|kernel, _| {
            kernel.run == self.run
                && kernel
                    .processes
                    .values()
                    .any(|process| process.exec == self.number && process.end.is_none())
        })
    }

    /// Ends the whole tree: SIGTERM, some time, SIGKILL.
    pub(super) async fn end_tree(&self) {
        self.signal_tree(Signal::TERM);
        let clock = &self.sandbox.world.clock;
        let until = clock.elapsed() + KILL_GRACE;
        while self.is_alive() && clock.elapsed() < until {
            clock.sleep(Duration::from_millis(10)).await;
        }
        self.signal_tree(Signal::KILL);
    }
}

/// Kills the tree when it is dropped in the middle.
struct KillOnDrop<'a>(&'a Exec);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.signal_tree(Signal::KILL);
    }
}

impl MockDriver {
    pub(super) async fn do_exec(&self, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
        driver_validation::validate_exec_spec(spec)?;
        let start = self.world.clock.elapsed();
        let cap = spec
            .max_output_bytes
            .unwrap_or(ExecSpec::DEFAULT_MAX_OUTPUT_BYTES);
        let mut result = ExecResult {
            exit_code: 0,
            signal: None,
            timed_out: false,
            stdout: Default::default(),
            stderr: Default::default(),
            stdout_truncated: false,
            stderr_truncated: false,
            duration_ms: 0,
        };
        let (exec, frames) = match self.start_exec(id, spec)? {
            Started::Process(exec, frames) => (exec, frames),
            Started::NotExecutable(code, message) => {
                result.exit_code = code;
                result.stderr = message.into_bytes().into();
                return Ok(result);
            }
        };
        let (end, timed_out, output) = self.collect(&exec, frames, spec.timeout_ms, cap).await;
        result.exit_code = if self.lies(Lie::ExecHidesExitCode) {
            0
        } else {
            end.exit_code()
        };
        result.signal = end.process_exit(false).signal;
        result.timed_out = timed_out;
        result.duration_ms = (self.world.clock.elapsed() - start).as_millis() as u64;
        let [stdout, stderr] = output;
        (result.stdout, result.stdout_truncated) = (stdout.bytes.into(), stdout.truncated);
        (result.stderr, result.stderr_truncated) = (stderr.bytes.into(), stderr.truncated);
        Ok(result)
    }

    /// Reads to the end of the process, or of its time.
    async fn collect(
        &self,
        exec: &Exec,
        mut frames: mpsc::Receiver<ProcessFrame>,
        timeout_ms: Option<u64>,
        cap: u64,
    ) -> (End, bool, [Capped; 2]) {
        let guard = KillOnDrop(exec);
        let mut output = [Capped::default(), Capped::default()];
        let mut exit = exec.exit.clone();
        let timeout = timeout_ms.map(Duration::from_millis);
        let reading = read_all(&mut frames, &mut exit, &mut output, cap);
        let in_time = self.world.clock.limit(timeout, reading).await;
        let (end, timed_out) = match in_time {
            Some(end) => (end, false),
            None => {
                if !self.lies(Lie::ExecTimeoutLeavesTree) {
                    let reading = read_all(&mut frames, &mut exit, &mut output, cap);
                    tokio::join!(exec.end_tree(), reading);
                }
                let end = *exec.exit.borrow();
                (end.unwrap_or(End::Signal(Signal::KILL)), true)
            }
        };
        // What a process leaves behind on purpose lives on; only an exec that is given up is killed.
        std::mem::forget(guard);
        (end, timed_out, output)
    }

    pub(super) async fn do_exec_stream(&self, id: &str, spec: &ExecSpec) -> Result<ProcessHandle> {
        driver_validation::validate_exec_stream_spec(spec)?;
        match self.start_exec(id, spec)? {
            Started::Process(exec, frames) => {
                let timed_out = Arc::new(std::sync::atomic::AtomicBool::new(false));
                let exec = Arc::new(exec);
                if let Some(ms) = spec.timeout_ms {
                    tokio::spawn(end_in_time(Arc::clone(&exec), ms, Arc::clone(&timed_out)));
                }
                let stream = exec_frames(
                    &exec,
                    frames,
                    Arc::clone(&timed_out),
                    self.lies(Lie::StreamExitFirst),
                );
                let swallow = self.lies(Lie::SwallowStdin);
                Ok(ProcessHandle::new(
                    stream,
                    ExecControl::new(exec, timed_out, swallow),
                ))
            }
            Started::NotExecutable(code, message) => Ok(super::handle::not_executable(code, message)),
        }
    }

    /// Starts a process in a running container.
    fn start_exec(&self, id: &str, spec: &ExecSpec) -> Result<Started> {
        if !self.lies(Lie::AcceptUndeclared) {
            driver_validation::check_exec_capabilities(spec, &self.capabilities)?;
        }
        let (sandbox, instance) = self.find(id)?;
        if instance.status != ContainerStatus::Running {
            return Err(DriverError::invalid_state(
                id,
                instance.status,
                [ContainerStatus::Running],
            ));
        }
        let container = Arc::clone(&sandbox.container);
        let mounts = sandbox.with_kernel(|kernel, _| kernel.mounts());
        let mut env: BTreeMap<String, String> = (**container.env).clone();
        env.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        if spec.tty {
            env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
        }
        let path = env.get("PATH").cloned().unwrap_or_default();
        let launch = Launch {
            argv: spec.command.clone().into(),
            env: environment(move || env),
            path: &path,
            cwd: spec
                .working_dir
                .as_deref()
                .map_or_else(|| Arc::clone(&container.working_dir), Arc::from),
            user: spec.user.as_deref().unwrap_or(&container.config.security.user),
        };
        let (found, user) = match self.prepare(&sandbox, &launch, &mounts) {
            Ok(found) => found,
            Err(failure) => {
                return match failure.exit_code {
                    Some(code) => Ok(Started::NotExecutable(code, format!("{}\n", failure.message))),
                    None => Err(DriverError::exec_start(id, failure.message)),
                };
            }
        };
        let (stdio, frames) = exec_stdio(spec);
        let (exited, exit) = watch::channel(None);
        let number = sandbox.next_exec();
        let process = found.spec(&launch, &with_home(&launch.env, &user), 0, number, stdio.clone());
        let spawned = sandbox.with_kernel(|kernel, now| {
            if !kernel.is_alive() {
                return Ok(None);
            }
            let pid = kernel.spawn(now, process)?;
            match kernel.living(pid) {
                Some(process) => process.exited = Some(exited),
                // Its memory was too much; it is dead already.
                None => drop(exited.send_replace(Some(End::Signal(Signal::KILL)))),
            }
            Ok(Some((pid, kernel.run)))
        });
        let spawned = spawned.map_err(|errno: crate::fs::Errno| {
            DriverError::exec_start(
                id,
                format!("cannot fork: {} ({})", errno, "the pids limit is reached"),
            )
        })?;
        let Some((pid, run)) = spawned else {
            let status = sandbox
                .instance()
                .map_or(ContainerStatus::Exited, |instance| instance.status);
            return Err(DriverError::invalid_state(id, status, [ContainerStatus::Running]));
        };
        let context = Context {
            sandbox: sandbox.clone(),
            run,
            pid,
        };
        execute(context, &found.program);
        let exec = Exec {
            sandbox,
            run,
            pid,
            number,
            exit,
            stdin: stdio.stdin,
            terminal: stdio.terminal,
        };
        Ok(Started::Process(exec, frames))
    }
}

fn exec_stdio(spec: &ExecSpec) -> (Stdio, mpsc::Receiver<ProcessFrame>) {
    let (sender, frames) = mpsc::channel(FRAMES);
    let size = spec.terminal_size.unwrap_or(TerminalSize {
        rows: 24,
        columns: 80,
    });
    let stdin = match &spec.stdin {
        Some(data) if spec.attach_stdin => Some(Pipe::open_with(data.0.clone())),
        Some(data) => Some(Pipe::of(data.0.clone())),
        None if spec.attach_stdin => Some(Pipe::default()),
        None => None,
    };
    let stdio = Stdio {
        stdin: stdin.map(Arc::new),
        output: Output::Channel(sender),
        terminal: spec.tty.then(|| Arc::new(Terminal::new(size))),
    };
    (stdio, frames)
}

async fn end_in_time(exec: Arc<Exec>, ms: u64, timed_out: Arc<std::sync::atomic::AtomicBool>) {
    let mut exit = exec.exit.clone();
    let ended = async { exit.wait_for(Option::is_some).await.is_ok() };
    if exec
        .sandbox
        .world
        .clock
        .limit(Some(Duration::from_millis(ms)), ended)
        .await
        .is_none()
    {
        timed_out.store(true, Ordering::SeqCst);
        exec.end_tree().await;
    }
}

/// Output up to a cap.
#[derive(Debug, Default)]
struct Capped {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capped {
    fn push(&mut self, data: &[u8], cap: u64) {
        let room = usize::try_from(cap)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.bytes.len());
        self.truncated |= data.len() > room;
        self.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }
}

/// Reads frames until the process has ended.
async fn read_all(
    frames: &mut mpsc::Receiver<ProcessFrame>,
    exit: &mut watch::Receiver<Option<End>>,
    output: &mut [Capped; 2],
    cap: u64,
) -> End {
    let mut keep = |frame| match frame {
        ProcessFrame::Stdout { data } => output[0].push(&data, cap),
        ProcessFrame::Stderr { data } => output[1].push(&data, cap),
        ProcessFrame::Exit(_) => {}
    };
    loop {
        tokio::select! {
            biased;
            Some(frame) = frames.recv() => keep(frame),
            end = async { exit.wait_for(Option::is_some).await.ok().and_then(|end| *end) } => {
                while let Ok(frame) = frames.try_recv() {
                    keep(frame);
                }
                return end.unwrap_or(End::Signal(Signal::KILL));
            }
        }
    }
}
