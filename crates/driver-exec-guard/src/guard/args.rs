//! The command line of the guard.

use std::ffi::OsString;
use std::time::Duration;

use rustix::termios::Winsize;

/// What this process is to do.
pub(super) enum Mode {
    /// Supervise a program.
    Guard(Run),
    /// Become the program.
    Child {
        /// Take stdin as the controlling terminal.
        tty: bool,
        /// The program and its arguments.
        argv: Vec<OsString>,
    },
}

/// A program to supervise.
pub(super) struct Run {
    /// The size of its terminal, if it gets one.
    pub(super) tty: Option<Winsize>,
    /// Whether it has a stdin; else /dev/null.
    pub(super) stdin: bool,
    /// After which its tree is killed.
    pub(super) timeout: Option<Duration>,
    /// The program and its arguments.
    pub(super) argv: Vec<OsString>,
}

/// Reads the arguments after the program's own name.
pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<Mode, String> {
    let mut args = args.peekable();
    let child = args.next_if(|arg| arg == "child").is_some();
    let mut run = Run {
        tty: None,
        stdin: false,
        timeout: None,
        argv: Vec::new(),
    };
    let mut child_tty = false;
    loop {
        let arg = args.next().ok_or("`--` and a program are missing")?;
        match arg.to_str() {
            Some("--") => break,
            Some("--tty") if child => child_tty = true,
            Some("--tty") => run.tty = Some(size(&value(&mut args, "--tty")?)?),
            Some("--stdin") => run.stdin = true,
            Some("--timeout-ms") => {
                let text = value(&mut args, "--timeout-ms")?;
                let ms = text
                    .parse()
                    .map_err(|_| format!("--timeout-ms {text} is not a number"))?;
                run.timeout = Some(Duration::from_millis(ms));
            }
            _ => return Err(format!("unknown argument {}", arg.display())),
        }
    }
    run.argv = args.collect();
    if run.argv.is_empty() {
        return Err("a program after `--` is missing".into());
    }
    Ok(if child {
        Mode::Child {
            tty: child_tty,
            argv: run.argv,
        }
    } else {
        Mode::Guard(run)
    })
}

fn value(args: &mut impl Iterator<Item = OsString>, name: &str) -> Result<String, String> {
    args.next()
        .and_then(|value| value.into_string().ok())
        .ok_or_else(|| format!("{name} needs a value"))
}

fn size(text: &str) -> Result<Winsize, String> {
    let parsed = text
        .split_once('x')
        .and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
    let (rows, columns) = parsed.ok_or_else(|| format!("--tty {text} is not ROWSxCOLUMNS"))?;
    Ok(window(rows, columns))
}

/// A terminal size in characters.
pub(super) fn window(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
