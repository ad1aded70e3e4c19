//! The guard's loop: control stream, output, time-out, and the end of the tree.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::{Command, Decoder, FAILED, Report, VERSION, WINDOW};
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal as NixSignal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use super::Start;
use super::args::{Run, window};
use super::ending::{Ending, GRACE, TICK};
use super::output::Output;
use super::spawn::{not_blocking, spawn};
use super::stdin::Stdin;

struct Supervisor {
    control: Option<File>,
    decoder: Decoder,
    signals: SignalFd,
    output: Output,
    stdin: Stdin,
    program: Pid,
    terminal: bool,
    deadline: Option<Instant>,
    timed_out: bool,
    detached: bool,
    ending: Option<Ending>,
    /// Code and signal, once it has ended.
    exit: Option<(u8, u8)>,
}

/// What can be read or written without waiting.
#[derive(Default)]
struct Ready {
    control: bool,
    sources: Vec<usize>,
}

/// Runs a program to its end; the exit code is the program's.
pub(super) fn guard(run: &Run, start: &dyn Start) -> ExitCode {
    match prepare() {
        Ok((output, signals)) => begin(run, start, output, signals),
        Err(error) => {
            eprintln!("guard: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn prepare() -> io::Result<(Output, SignalFd)> {
    // Signals that the workload sends to every process must not end the guard; the end of a child is read from a
    // descriptor. Not dumpable: processes of the same user cannot trace it or take its descriptors.
    SigSet::all().thread_block()?;
    let mut child_ended = SigSet::empty();
    child_ended.add(NixSignal::SIGCHLD);
    let signals = SignalFd::with_flags(&child_ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let wire = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((Output::new(not_blocking(wire)?), signals))
}

fn begin(run: &Run, start: &dyn Start, mut output: Output, signals: SignalFd) -> ExitCode {
    output.report(&Report::Hello(VERSION));
    let spawned = match spawn(run, start) {
        Ok(spawned) => spawned,
        Err(error) => {
            output.report(&Report::StartFailed(error.to_string()));
            return ExitCode::from(FAILED);
        }
    };
    output.report(&Report::Started);
    output.read_from(spawned.stdout, false);
    if let Some(stderr) = spawned.stderr {
        output.read_from(stderr, true);
    }
    let supervisor = Supervisor {
        control: io::stdin().as_fd().try_clone_to_owned().ok().map(File::from),
        decoder: Decoder::default(),
        signals,
        output,
        stdin: Stdin::new(spawned.stdin, run.tty.is_some()),
        program: spawned.pid,
        terminal: run.tty.is_some(),
        deadline: run.timeout.map(|timeout| Instant::now() + timeout),
        timed_out: false,
        detached: false,
        ending: None,
        exit: None,
    };
    ExitCode::from(supervisor.run())
}

impl Supervisor {
    fn run(mut self) -> u8 {
        let code = loop {
            if let Some((code, _)) = self.exit
                && self.ending.is_none()
                && (self.output.is_drained() || !self.output.has_listener())
            {
                break code;
            }
            // Waiting can fail only for lack of memory; then ending the tree is all that can be done.
            match self.wait() {
                Ok(ready) => self.handle(ready),
                Err(_) => self.end(false),
            }
            self.timers();
        };
        self.output.report(&Report::End);
        self.finish();
        code
    }

    /// Sends the last report, and stays while processes that the program left behind hold its output.
    fn finish(&mut self) {
        while self.output.waiting().is_some() {
            match self.wait() {
                Ok(ready) => self.handle(ready),
                Err(_) => return,
            }
        }
        self.control = None;
        self.output.linger();
        while !self.terminal && !self.output.is_closed() {
            match self.wait() {
                Ok(ready) => self.handle(ready),
                Err(_) => return,
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let writers = [self.output.waiting(), self.stdin.waiting()];
        fds.extend(
            writers
                .into_iter()
                .flatten()
                .map(|file| PollFd::new(file, PollFlags::OUT)),
        );
        let (wanted, sources): (Vec<usize>, Vec<&File>) = self.output.wanted().unzip();
        let first_source = fds.len();
        fds.extend(sources.into_iter().map(|file| PollFd::new(file, PollFlags::IN)));
        let control = self.control.as_ref();
        fds.extend(control.map(|control| PollFd::new(control, PollFlags::IN)));
        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut readable = fds[first_source..].iter().map(|fd| !fd.revents().is_empty());
        let sources = wanted
            .into_iter()
            .filter(|_| readable.next() == Some(true))
            .collect();
        Ok(Ready {
            sources,
            control: control.is_some() && readable.next() == Some(true),
        })
    }

    fn timeout(&self) -> Option<Timespec> {
        let now = Instant::now();
        let tick = self.ending.as_ref().map(|_| TICK);
        let deadline = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(now));
        let wait = tick.into_iter().chain(deadline).min()?;
        Timespec::try_from(wait).ok()
    }

    fn handle(&mut self, ready: Ready) {
        if ready.control {
            self.read_control();
        }
        self.output.read(&ready.sources);
        let taken = self.stdin.flush();
        self.stdin_taken(taken);
        self.output.flush();
        while let Ok(Some(_)) = self.signals.read_signal() {}
        self.reap();
    }

    fn timers(&mut self) {
        let now = Instant::now();
        if self.exit.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.timed_out = true;
            self.deadline = None;
            self.end(true);
        }
        let Some(whole) = self.ending.as_ref().and_then(|ending| ending.step(now)) else {
            return;
        };
        self.ending = None;
        if !whole && self.exit.is_none() {
            self.exit = Some((137, 9));
            self.output.discard();
        }
        self.output.report(&Report::Killed(whole));
    }

    /// Ends the tree, with or without a grace time.
    fn end(&mut self, gently: bool) {
        let now = Instant::now();
        match &mut self.ending {
            Some(ending) if !gently => ending.hurry(now),
            Some(_) => {}
            None => {
                let grace = if gently { GRACE } else { Duration::ZERO };
                self.ending = Some(Ending::begin(now, grace));
            }
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid != self.program || self.exit.is_some() {
                continue;
            }
            let signal = status
                .terminating_signal()
                .and_then(|signal| u8::try_from(signal).ok());
            let code = match signal {
                Some(signal) => 128_u8.saturating_add(signal),
                None => status.exit_status().map_or(FAILED, |code| code as u8),
            };
            let signal = signal.unwrap_or(0);
            self.exit = Some((code, signal));
            self.deadline = None;
            self.output.program_ended(self.terminal);
            let timed_out = self.timed_out;
            self.output.report(&Report::Exited {
                code,
                signal,
                timed_out,
            });
        }
    }

    fn read_control(&mut self) {
        let mut buffer = [0; 32 * 1024];
        let count = match self.control.as_mut().map(|control| control.read(&mut buffer)) {
            Some(Ok(count)) => count,
            // With one socket for both directions, the control stream does not block either.
            Some(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                return;
            }
            _ => 0,
        };
        self.decoder.push(&buffer[..count]);
        if count == 0 {
            return self.lose_control();
        }
        loop {
            match self.decoder.decode() {
                Ok(Some(command)) => self.obey(command),
                Ok(None) => return,
                Err(_) => return self.lose_control(),
            }
        }
    }

    /// The driver is gone: nobody reads, and the tree must not outlive its owner.
    fn lose_control(&mut self) {
        self.control = None;
        self.output.discard();
        if !self.detached && self.exit.is_none() {
            self.end(true);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Stdin(data) => {
                if self.stdin.len() + data.len() > WINDOW {
                    return self.lose_control();
                }
                let taken = self.stdin.push(&data);
                self.stdin_taken(taken);
            }
            Command::CloseStdin => {
                let taken = self.stdin.close();
                self.stdin_taken(taken);
            }
            Command::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number.into()).filter(|_| self.exit.is_none()) {
                    // It may have ended just now; its exit is reported in any case.
                    let _ = rustix::process::kill_process(self.program, signal);
                }
            }
            Command::Resize { rows, columns } => {
                if let Some(terminal) = self.stdin.terminal() {
                    let _ = rustix::termios::tcsetwinsize(terminal, window(rows, columns));
                }
            }
            Command::Kill if self.exit.is_none() || self.ending.is_some() => self.end(false),
            // What a program left behind when it ended by itself lives on.
            Command::Kill => self.output.report(&Report::Killed(true)),
            Command::Detach => self.detached = true,
            Command::Credit(bytes) => self.output.grant(bytes as usize),
        }
    }

    fn stdin_taken(&mut self, bytes: usize) {
        if bytes > 0 {
            self.output.report(&Report::StdinTaken(bytes as u32));
        }
    }
}
