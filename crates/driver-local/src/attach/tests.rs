//! Handles on a main process that the test plays.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Read;
use std::sync::Mutex as StdMutex;

use driver_types::{ContainerStatus, ExitReason};
use rstest::rstest;
use tokio::sync::mpsc;

use super::*;

/// A container whose shim is the test.
#[derive(Debug)]
struct Played {
    status: watch::Sender<ContainerStatus>,
    stdin: StdMutex<Option<OwnedFd>>,
    signals: StdMutex<Vec<Signal>>,
    exit: watch::Sender<Option<ExitInfo>>,
}

impl Played {
    fn new(status: ContainerStatus, stdin: Option<OwnedFd>) -> Arc<Self> {
        Arc::new(Self {
            status: watch::Sender::new(status),
            stdin: StdMutex::new(stdin),
            signals: StdMutex::default(),
            exit: watch::Sender::new(None),
        })
    }

    fn end(&self, exit_code: Option<i32>, signal: Option<Signal>) {
        self.status.send_replace(ContainerStatus::Exited);
        self.exit.send_replace(Some(ExitInfo {
            exit_code,
            signal,
            reason: ExitReason::Exited,
            finished_at: 1,
        }));
    }

    fn running(&self) -> Result<()> {
        let status = *self.status.borrow();
        if status == ContainerStatus::Running {
            return Ok(());
        }
        Err(DriverError::invalid_state(
            "box",
            status,
            [ContainerStatus::Running],
        ))
    }
}

#[async_trait]
impl MainProcess for Played {
    async fn started(&self) -> Result<()> {
        let mut status = self.status.subscribe();
        let _ = status
            .wait_for(|status| *status != ContainerStatus::Created)
            .await;
        Ok(())
    }

    fn is_alive(&self) -> Result<bool> {
        Ok(self.status.borrow().is_alive())
    }

    fn stdin(&self) -> Result<Option<OwnedFd>> {
        self.running()?;
        let stdin = self.stdin.lock().unwrap();
        Ok(stdin.as_ref().map(|stdin| stdin.try_clone().unwrap()))
    }

    fn close_stdin(&self) -> Result<()> {
        self.running()?;
        *self.stdin.lock().unwrap() = None;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.running()?;
        self.signals.lock().unwrap().push(signal);
        if signal == Signal::KILL {
            self.end(Some(137), Some(signal));
        }
        Ok(())
    }

    async fn wait(&self) -> Result<ExitInfo> {
        let mut exit = self.exit.subscribe();
        let exit = exit.wait_for(Option::is_some).await.unwrap();
        Ok(exit.clone().unwrap())
    }
}

fn attach(process: &Arc<Played>, tty: bool) -> ProcessHandle {
    handle("box", tty, Arc::clone(process) as _, Box::pin(stream::empty()))
}

fn log_frame(stream: OutputStream, text: &str) -> LogFrame {
    LogFrame {
        stream,
        time: 1,
        data: Bytes::copy_from_slice(text.as_bytes()).into(),
    }
}

fn pipe() -> (File, Option<OwnedFd>) {
    let (reader, writer) = std::io::pipe().unwrap();
    (File::from(OwnedFd::from(reader)), Some(writer.into()))
}

#[tokio::test]
async fn output_then_exit() {
    let process = Played::new(ContainerStatus::Created, None);
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    let mut handle = handle("box", false, Arc::clone(&process) as _, Box::pin(frames));
    process.status.send_replace(ContainerStatus::Running);
    sender.send(Ok(log_frame(OutputStream::Stdout, "out"))).unwrap();
    process.end(Some(3), None);
    sender.send(Ok(log_frame(OutputStream::Stderr, "late"))).unwrap();
    drop(sender);
    let mut frames = Vec::new();
    while let Some(frame) = handle.next_frame().await {
        frames.push(frame.unwrap());
    }
    let exit = ProcessExit {
        exit_code: 3,
        signal: None,
        timed_out: false,
    };
    assert_eq!(
        frames,
        [
            output_frame(log_frame(OutputStream::Stdout, "out")),
            output_frame(log_frame(OutputStream::Stderr, "late")),
            ProcessFrame::Exit(exit),
        ]
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_the_end() {
    let process = Played::new(ContainerStatus::Running, None);
    let broken = stream::iter([
        Err(DriverError::file_system("broken")),
        Err(DriverError::file_system("again")),
    ]);
    let mut handle = handle("box", false, process, Box::pin(broken));
    let error = handle.next_frame().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    assert!(handle.next_frame().await.is_none());
}

#[tokio::test]
async fn a_write_waits_for_the_start_and_for_the_reader() {
    let (mut reader, stdin) = pipe();
    let process = Played::new(ContainerStatus::Created, stdin);
    let handle = attach(&process, false);
    // More than a pipe holds.
    let data = Bytes::from(vec![7; 1 << 20]);
    let read = tokio::task::spawn_blocking({
        let process = Arc::clone(&process);
        move || {
            process.status.send_replace(ContainerStatus::Running);
            let mut read = vec![0; 1 << 20];
            reader.read_exact(&mut read).unwrap();
            read
        }
    });
    handle.write_stdin(data.clone()).await.unwrap();
    assert!(read.await.unwrap() == data);
}

#[tokio::test]
async fn a_write_nobody_reads_ends_with_the_process() {
    let (_reader, stdin) = pipe();
    let process = Played::new(ContainerStatus::Running, stdin);
    let handle = attach(&process, false);
    let write = handle.write_stdin(Bytes::from(vec![7; 1 << 20]));
    let end = async { process.end(Some(0), None) };
    let (written, ()) = tokio::join!(write, end);
    assert_eq!(written.unwrap_err().code(), "INVALID_STATE");
}

#[tokio::test]
async fn what_is_closed_by_one_handle_is_closed_for_all() {
    let (mut reader, stdin) = pipe();
    let process = Played::new(ContainerStatus::Running, stdin);
    let (one, two) = (attach(&process, false), attach(&process, false));
    one.write_stdin(Bytes::from("one")).await.unwrap();
    drop(one);
    two.write_stdin(Bytes::from(" two")).await.unwrap();
    two.close_stdin().await.unwrap();
    two.close_stdin().await.unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two");
    for handle in [two, attach(&process, false)] {
        let late = handle.write_stdin(Bytes::from("late")).await.unwrap_err();
        assert_eq!(late.code(), "INVALID_STATE");
    }
}

#[tokio::test]
async fn a_reader_that_is_gone_is_a_closed_stdin() {
    let (reader, stdin) = pipe();
    let process = Played::new(ContainerStatus::Running, stdin);
    drop(reader);
    let refused = attach(&process, false).write_stdin(Bytes::from("x")).await;
    assert_eq!(refused.unwrap_err().code(), "INVALID_STATE");
}

#[tokio::test]
async fn a_terminal_gets_a_size_and_an_end_of_file() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let mut theirs = File::from(ioctl_tiocgptpeer(&terminal, flags).unwrap());
    let process = Played::new(ContainerStatus::Running, Some(terminal));
    let handle = attach(&process, true);
    let size = TerminalSize {
        rows: 41,
        columns: 111,
    };
    handle.resize(size).await.unwrap();
    let now = rustix::termios::tcgetwinsize(&theirs).unwrap();
    assert_eq!((now.ws_row, now.ws_col), (41, 111));
    handle.write_stdin(Bytes::from("line\n")).await.unwrap();
    handle.close_stdin().await.unwrap();
    let mut line = String::new();
    theirs.read_to_string(&mut line).unwrap();
    assert_eq!(line, "line\n");
    let no_terminal = attach(&process, false).resize(size).await;
    assert_eq!(no_terminal.unwrap_err().code(), "CONFIGURATION_ERROR");
}

#[tokio::test]
async fn dropping_does_nothing_and_a_kill_waits_for_the_end() {
    let process = Played::new(ContainerStatus::Running, None);
    drop(attach(&process, false));
    attach(&process, false).detach();
    let handle = attach(&process, false);
    handle.signal(Signal::USR1).await.unwrap();
    handle.kill().await.unwrap();
    handle.kill().await.unwrap();
    assert_eq!(*process.signals.lock().unwrap(), [Signal::USR1, Signal::KILL]);
    let (one, two) = tokio::join!(handle.wait(), handle.wait());
    assert_eq!(
        (one.unwrap().exit_code, two.unwrap().signal),
        (137, Some(Signal::KILL))
    );
}

#[rstest]
#[case(ContainerStatus::Created, true)]
#[case(ContainerStatus::Exited, true)]
#[case(ContainerStatus::Paused, false)]
#[tokio::test]
async fn a_kill_of_what_does_not_run(#[case] status: ContainerStatus, #[case] nothing_to_do: bool) {
    let process = Played::new(status, None);
    let killed = attach(&process, false).kill().await;
    assert_eq!(killed.is_ok(), nothing_to_do, "{killed:?}");
}

#[tokio::test]
async fn a_container_that_was_removed_was_killed() {
    let process = Played::new(ContainerStatus::Running, None);
    let handle = attach(&process, false);
    process.end(None, None);
    let exit = handle.wait().await.unwrap();
    assert_eq!((exit.exit_code, exit.signal), (137, Some(Signal::KILL)));
}
