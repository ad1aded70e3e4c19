//! Commands that print and read, and the forms in which results are printed.

use driver_types::OutputStream;

use super::{Answer, Workload, usage};
use crate::fs::{Content, Errno};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// Bytes of a piece of `flood`.
const FLOOD_PIECE: u64 = 8192;

/// Bytes on one line: what is not printable ASCII is escaped.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x20..=0x7e => line.push(char::from(*byte)),
            other => line.push_str(&format!("\\x{other:02x}")),
        }
    }
    line
}

/// FNV-1a over pieces.
pub(super) struct Fnv(u64);

impl Fnv {
    pub(super) fn new() -> Self {
        Self(FNV_OFFSET)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    pub(super) fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

pub(super) fn fingerprint(content: &Content) -> String {
    let mut fnv = Fnv::new();
    content.for_each(|bytes| fnv.add(bytes));
    format!("{} {}", content.len(), fnv.hex())
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn stream(name: &str) -> Option<OutputStream> {
    match name {
        "out" => Some(OutputStream::Stdout),
        "err" => Some(OutputStream::Stderr),
        _ => None,
    }
}

impl Workload {
    pub(super) async fn output(&mut self, name: &str, arguments: &[&str]) -> Option<Answer> {
        match (name, arguments) {
            ("out", [text]) => self.say(OutputStream::Stdout, format!("{text}\n")).await,
            ("err", [text]) => self.say(OutputStream::Stderr, format!("{text}\n")).await,
            ("raw", [to, hex]) => match (stream(to), unhex(hex)) {
                (Some(to), Some(bytes)) => self.say(to, bytes).await,
                _ => return Some(usage(name)),
            },
            ("flood", [to, bytes]) => match (stream(to), bytes.parse()) {
                (Some(to), Ok(bytes)) => self.flood(to, bytes).await,
                _ => return Some(usage(name)),
            },
            ("lines", [to, count]) => match (stream(to), count.parse::<u64>()) {
                (Some(to), Ok(count)) => {
                    for number in 1..=count {
                        self.say(to, format!("line {number}\n")).await;
                    }
                }
                _ => return Some(usage(name)),
            },
            ("ticks", [ms, count]) => match (ms.parse(), count.parse::<u64>()) {
                (Ok(ms), Ok(count)) => {
                    for number in 1..=count {
                        self.say(OutputStream::Stdout, format!("tick {number}\n")).await;
                        self.context.sleep(ms).await;
                    }
                }
                _ => return Some(usage(name)),
            },
            ("cat", []) => self.cat().await,
            ("echo", []) => self.echo().await,
            ("stdin", []) => return Some(self.stdin().await),
            ("tty", []) => return Some(self.tty()),
            ("winsize", []) => return Some(self.window().ok_or(Errno("ENOTTY")).into()),
            ("watch-winsize", []) => self.watch_window().await,
            _ => return None,
        }
        Some(Answer::Silent)
    }

    async fn flood(&self, to: OutputStream, bytes: u64) {
        let byte = |index: u64| {
            if index % 64 == 63 {
                b'\n'
            } else {
                b'a' + (index / 64 % 26) as u8
            }
        };
        for start in (0..bytes).step_by(FLOOD_PIECE as usize) {
            let piece: Vec<u8> = (start..bytes.min(start + FLOOD_PIECE)).map(byte).collect();
            self.say(to, piece).await;
        }
    }

    /// The next bytes of stdin; `None` at its end.
    async fn input(&self) -> Option<bytes::Bytes> {
        self.context.stdio().stdin?.read().await
    }

    async fn cat(&self) {
        while let Some(data) = self.input().await {
            self.say(OutputStream::Stdout, data).await;
        }
    }

    async fn echo(&self) {
        let mut line = Vec::new();
        while let Some(data) = self.input().await {
            for byte in data {
                if byte == b'\n' {
                    let text = escape(&std::mem::take(&mut line));
                    self.say(OutputStream::Stdout, format!("echo={text}\n")).await;
                } else {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            self.say(OutputStream::Stdout, format!("echo={}\n", escape(&line)))
                .await;
        }
    }

    async fn stdin(&self) -> Answer {
        let (mut fnv, mut length) = (Fnv::new(), 0);
        while let Some(data) = self.input().await {
            fnv.add(&data);
            length += data.len();
        }
        Answer::Value(format!("{length} {}", fnv.hex()))
    }

    fn tty(&self) -> Answer {
        let word = if self.context.stdio().terminal.is_some() {
            "yes"
        } else {
            "no"
        };
        Answer::Value([word; 3].join(","))
    }

    fn window(&self) -> Option<String> {
        let size = self.context.stdio().terminal?.size();
        Some(format!("{} {}", size.rows, size.columns))
    }

    async fn watch_window(&self) {
        let mut last = None;
        loop {
            let now = self.window();
            if now != last {
                let line = match &now {
                    Some(size) => format!("winsize={size}\n"),
                    None => "winsize!ENOTTY\n".to_owned(),
                };
                self.say(OutputStream::Stdout, line).await;
                last = now;
            }
            self.context.sleep(20).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stay_on_one_line() {
        assert_eq!(escape(b"a\\b\n\r\t\x00\xff~"), "a\\\\b\\n\\r\\t\\x00\\xff~");
    }

    #[test]
    fn fingerprints_are_fnv_1a() {
        assert_eq!(fingerprint(&Content::from("")), "0 cbf29ce484222325");
        assert_eq!(fingerprint(&Content::from("a")), "1 af63dc4c8601ec8c");
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!((unhex("0"), unhex("zz")), (None, None));
    }
}
