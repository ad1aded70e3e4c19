//! Carries bytes between a process and our stdin, stdout and stderr, exactly and in order, and signals to it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use driver_types::{FrameStream, ProcessControl, ProcessExit, ProcessFrame, ProcessHandle};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::signals::{Interrupt, Patience, Reaction, Signals};
use crate::terminal::{self, RawMode};

/// How a process is connected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wiring {
    /// Carry our stdin to it.
    pub stdin: bool,
    /// It has a terminal: use raw mode if ours is one too, and tell it the size.
    pub tty: bool,
    /// Ctrl-P Ctrl-Q lets it run on without us.
    pub detachable: bool,
    /// We started it: it does not outlive us.
    pub owned: bool,
    /// Pass signals on to it; else they end the connection.
    pub forward_signals: bool,
    /// How long it may take.
    pub limit: Option<Duration>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process ended.
    Exited(ProcessExit),
    /// Its output ended without telling how.
    OutputEnded,
    /// The user let it run on.
    Detached,
    /// It took longer than its limit; it was killed.
    TimedOut,
    /// The user asked twice in vain, and then once more; what we own was killed.
    Impatient,
}

/// How long output that was written before a kill may take to arrive.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// Connects us to a process until it ends. What we own is gone when this returns, with an error too.
pub(crate) async fn connect(
    handle: ProcessHandle,
    wiring: Wiring,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let (frames, control) = handle.split();
    let control: Arc<dyn ProcessControl> = Arc::from(control);
    let raw = enter_raw_mode(wiring)?;
    if wiring.tty {
        resize(&*control).await;
    }
    let (detach, detached) = mpsc::channel(1);
    let input = wiring.stdin.then(|| {
        let keys = (wiring.detachable && raw.is_some()).then_some(detach);
        tokio::spawn(carry_stdin(control.clone(), keys))
    });

    let mut output = pin!(carry_output(frames));
    let ending = watch(&*control, wiring, output.as_mut(), detached, signals).await;
    if let Some(input) = input {
        input.abort();
    }
    drop(raw);
    match ending {
        Ok(Ending::Detached) => control.detach(),
        Ok(Ending::TimedOut | Ending::Impatient) if wiring.owned => {
            control.kill().await?;
            // What cannot be written any more is lost either way.
            drop(tokio::time::timeout(LAST_OUTPUT, output).await);
        }
        Err(_) if wiring.owned => control.kill().await?,
        _ => {}
    }
    ending
}

/// Waits for what ends the connection, and passes signals on meanwhile.
async fn watch(
    control: &dyn ProcessControl,
    wiring: Wiring,
    mut output: Pin<&mut impl Future<Output = Result<Ending, Failure>>>,
    mut detached: mpsc::Receiver<()>,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let mut limit = pin!(async {
        match wiring.limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    });
    let mut patience = Patience::default();
    loop {
        tokio::select! {
            ending = &mut output => return ending,
            Some(()) = detached.recv() => return Ok(Ending::Detached),
            () = &mut limit => return Ok(Ending::TimedOut),
            interrupt = signals.next() => match interrupt {
                Interrupt::Resized if wiring.tty => resize(control).await,
                Interrupt::Resized => {}
                Interrupt::End(_) if !wiring.forward_signals => return Ok(Ending::Detached),
                Interrupt::End(signal) => match patience.react() {
                    // It may have ended in this moment; its exit frame will tell.
                    Reaction::Forward => drop(control.signal(signal).await),
                    Reaction::Kill => return Ok(Ending::Impatient),
                },
            },
        }
    }
}

/// Carries what the process writes to stdout and stderr.
async fn carry_output(mut frames: FrameStream) -> Result<Ending, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(frame) = frames.next().await {
        match frame? {
            ProcessFrame::Stdout { data } => {
                stdout.write_all(&data).await?;
                stdout.flush().await?;
            }
            ProcessFrame::Stderr { data } => {
                stderr.write_all(&data).await?;
                stderr.flush().await?;
            }
            ProcessFrame::Exit(exit) => return Ok(Ending::Exited(exit)),
        }
    }
    Ok(Ending::OutputEnded)
}

fn enter_raw_mode(wiring: Wiring) -> Result<Option<RawMode>, Failure> {
    let wanted = wiring.tty && wiring.stdin && terminal::stdin_is_terminal();
    Ok(if wanted { Some(RawMode::enter()?) } else { None })
}

/// Tells the process the size of our terminal. One that has just ended, or not begun, needs none.
async fn resize(control: &dyn ProcessControl) {
    if let Some(size) = terminal::size() {
        drop(control.resize(size).await);
    }
}

/// Bytes read from stdin at once.
const CHUNK: usize = 32 * 1024;

/// Carries stdin to the process until either ends. A process that has ended or closed its stdin takes no more.
async fn carry_stdin(control: Arc<dyn ProcessControl>, detach: Option<mpsc::Sender<()>>) {
    let mut stdin = tokio::io::stdin();
    let mut keys = detach.map(|sender| (DetachKeys::default(), sender));
    loop {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        match stdin.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let mut data = buffer.freeze();
        let mut leave = false;
        if let Some((keys, _)) = &mut keys {
            (data, leave) = keys.filter(&data);
        }
        if !data.is_empty() && control.write_stdin(data).await.is_err() {
            return;
        }
        if leave {
            if let Some((_, sender)) = keys.take() {
                // The receiver is gone when the process has ended meanwhile.
                let _ = sender.send(()).await;
            }
            return;
        }
    }
    // Nothing is lost when it fails: the process has ended.
    drop(control.close_stdin().await);
}

/// Finds Ctrl-P Ctrl-Q in what is typed. A Ctrl-P is held back until the next key.
#[derive(Debug, Default)]
struct DetachKeys {
    held: bool,
}

impl DetachKeys {
    const FIRST: u8 = 0x10;
    const SECOND: u8 = 0x11;

    /// The bytes to pass on, and whether the keys were pressed.
    fn filter(&mut self, typed: &[u8]) -> (Bytes, bool) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            if self.held && byte == Self::SECOND {
                return (passed.into(), true);
            }
            if self.held {
                passed.push(Self::FIRST);
            }
            self.held = byte == Self::FIRST;
            if !self.held {
                passed.push(byte);
            }
        }
        (passed.into(), false)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["abc"], "abc", false)]
    #[case(&["a\x10\x11b"], "a", true)]
    #[case(&["a\x10", "\x11"], "a", true)]
    #[case(&["\x10x"], "\x10x", false)]
    #[case(&["\x10\x10\x11"], "\x10", true)]
    #[case(&["\x11"], "\x11", false)]
    fn detach_keys(#[case] typed: &[&str], #[case] passed: &str, #[case] pressed: bool) {
        let mut keys = DetachKeys::default();
        let (mut out, mut left) = (Vec::new(), false);
        for piece in typed {
            let (data, leave) = keys.filter(piece.as_bytes());
            out.extend_from_slice(&data);
            left = leave;
        }
        assert_eq!((out.as_slice(), left), (passed.as_bytes(), pressed));
    }
}
