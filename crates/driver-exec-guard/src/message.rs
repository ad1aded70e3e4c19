//! The messages: commands to the guard, reports from it.

use crate::frame::{Frame, put};

/// What the driver tells the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bytes for the program's stdin.
    Stdin(Vec<u8>),
    /// The end of its stdin, after all bytes before.
    CloseStdin,
    /// Sends the signal of this number to the program.
    Signal(u8),
    /// Sets the size of its terminal.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
    /// Kills the whole tree at once. Does nothing once the program has ended. Always answered by [`Report::Killed`].
    Kill,
    /// At the end of the control stream the tree lives on, and its output goes nowhere.
    Detach,
    /// So many more bytes of output may be sent.
    Credit(u32),
}

/// What the guard tells the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The guard runs; the version of its protocol. Always first.
    Hello(u8),
    /// The program was started.
    Started,
    /// It could not be started, for a reason of the container (for example its process limit). Nothing follows.
    StartFailed(String),
    /// It wrote to stdout, or to its terminal.
    Stdout(Vec<u8>),
    /// It wrote to stderr.
    Stderr(Vec<u8>),
    /// It has taken so many bytes of stdin, or has closed it and they were dropped.
    StdinTaken(u32),
    /// It ended. Output that it wrote before may still follow.
    Exited {
        /// The exit code; 128 + number for a signal.
        code: u8,
        /// The signal that ended it, else 0.
        signal: u8,
        /// Whether it was killed for its time-out.
        timed_out: bool,
    },
    /// The tree was killed; `false` where something of it could not be killed.
    Killed(bool),
    /// All output that the program wrote was sent. Nothing follows.
    End,
}

impl Frame for Command {
    fn encode(&self, wire: &mut Vec<u8>) {
        match self {
            Self::Stdin(data) => put(wire, 1, &[data]),
            Self::CloseStdin => put(wire, 2, &[]),
            Self::Signal(number) => put(wire, 3, &[&[*number]]),
            Self::Resize { rows, columns } => put(wire, 4, &[&rows.to_be_bytes(), &columns.to_be_bytes()]),
            Self::Kill => put(wire, 5, &[]),
            Self::Detach => put(wire, 6, &[]),
            Self::Credit(bytes) => put(wire, 7, &[&bytes.to_be_bytes()]),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (1, data) => Self::Stdin(data.to_vec()),
            (2, []) => Self::CloseStdin,
            (3, [number]) => Self::Signal(*number),
            (4, [a, b, c, d]) => Self::Resize {
                rows: u16::from_be_bytes([*a, *b]),
                columns: u16::from_be_bytes([*c, *d]),
            },
            (5, []) => Self::Kill,
            (6, []) => Self::Detach,
            (7, bytes) => Self::Credit(u32::from_be_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

impl Frame for Report {
    fn encode(&self, wire: &mut Vec<u8>) {
        match self {
            Self::Hello(version) => put(wire, 64, &[&[*version]]),
            Self::Started => put(wire, 65, &[]),
            Self::StartFailed(message) => put(wire, 66, &[message.as_bytes()]),
            Self::Stdout(data) => put(wire, 67, &[data]),
            Self::Stderr(data) => put(wire, 68, &[data]),
            Self::StdinTaken(bytes) => put(wire, 69, &[&bytes.to_be_bytes()]),
            Self::Exited {
                code,
                signal,
                timed_out,
            } => put(wire, 70, &[&[*code, *signal, u8::from(*timed_out)]]),
            Self::Killed(whole) => put(wire, 71, &[&[u8::from(*whole)]]),
            Self::End => put(wire, 72, &[]),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match (kind, payload) {
            (64, [version]) => Self::Hello(*version),
            (65, []) => Self::Started,
            (66, message) => Self::StartFailed(String::from_utf8_lossy(message).into_owned()),
            (67, data) => Self::Stdout(data.to_vec()),
            (68, data) => Self::Stderr(data.to_vec()),
            (69, bytes) => Self::StdinTaken(u32::from_be_bytes(bytes.try_into().ok()?)),
            (70, [code, signal, timed_out @ (0 | 1)]) => Self::Exited {
                code: *code,
                signal: *signal,
                timed_out: *timed_out == 1,
            },
            (71, [whole @ (0 | 1)]) => Self::Killed(*whole == 1),
            (72, []) => Self::End,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Broken, Command, Decoder, Frame, MAX_PAYLOAD, Report};

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Command::Stdin),
            Just(Command::CloseStdin),
            any::<u8>().prop_map(Command::Signal),
            any::<(u16, u16)>().prop_map(|(rows, columns)| Command::Resize { rows, columns }),
            Just(Command::Kill),
            Just(Command::Detach),
            any::<u32>().prop_map(Command::Credit),
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        prop_oneof![
            any::<u8>().prop_map(Report::Hello),
            Just(Report::Started),
            ".{0,40}".prop_map(Report::StartFailed),
            proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Report::Stdout),
            proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Report::Stderr),
            any::<u32>().prop_map(Report::StdinTaken),
            any::<(u8, u8, bool)>().prop_map(|(code, signal, timed_out)| Report::Exited {
                code,
                signal,
                timed_out
            }),
            any::<bool>().prop_map(Report::Killed),
            Just(Report::End),
        ]
    }

    /// Encodes, cuts into pieces of `piece` bytes, decodes.
    fn travel<T: Frame>(messages: &[T], piece: usize) -> Vec<T> {
        let mut wire = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut wire));
        let mut decoder = Decoder::default();
        let mut arrived = Vec::new();
        for bytes in wire.chunks(piece) {
            decoder.push(bytes);
            while let Some(message) = decoder.decode().expect("what we sent is not broken") {
                arrived.push(message);
            }
        }
        assert!(decoder.rest().is_empty(), "bytes were left over");
        arrived
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut(
            commands in proptest::collection::vec(command(), 0..8),
            reports in proptest::collection::vec(report(), 0..8),
            piece in 1_usize..600,
        ) {
            prop_assert_eq!(&travel(&commands, piece), &commands);
            prop_assert_eq!(&travel(&reports, piece), &reports);
        }

        #[test]
        fn any_bytes_end_in_messages_or_broken(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.decode::<Report>() {}
            prop_assert!(decoder.rest().len() <= bytes.len());
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_broken_at_once() {
        let mut decoder = Decoder::default();
        decoder.push(&[67, 0x7f, 0xff, 0xff, 0xff]);
        let broken = Broken {
            kind: 67,
            length: 0x7fff_ffff,
        };
        assert_eq!(decoder.decode::<Report>(), Err(broken));
        assert_eq!(decoder.decode::<Report>(), Err(broken));
        decoder = Decoder::default();
        decoder.push(&[[67].as_slice(), &(MAX_PAYLOAD as u32).to_be_bytes()].concat());
        assert_eq!(decoder.decode::<Report>(), Ok(None));
    }
}
