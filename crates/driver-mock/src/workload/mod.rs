//! The conformance suite's workload program, on the simulated kernel.
//!
//! Its commands are the contract with the suite (see the suite's own program): `CMD ARG... , CMD ARG...`, one after
//! another, each with one line of result. What a command answers follows from the state of the kernel and the file
//! systems, never from who asks.

mod files;
mod identity;
mod network;
mod processes;
mod resources;
mod system;
mod text;

use driver_types::{OutputStream, Signal};

use crate::fs::Errno;
use crate::kernel::{Context, Disposition, End};

/// What becomes of the program after a command.
pub(super) enum Flow {
    Next,
    End(End),
}

/// The result of a command: lines to print, or how the program ends.
pub(super) enum Answer {
    /// `NAME=VALUE`.
    Value(String),
    /// `NAME!ERRNO`.
    Failed(Errno),
    /// Lines as they are, with their newlines.
    Text(String),
    /// Lines that report a failure.
    FailedText(String),
    /// Nothing.
    Silent,
    /// The program ends.
    End(End),
    /// The command or its arguments make no sense: this word.
    Usage(String),
}

impl From<Result<String, Errno>> for Answer {
    fn from(result: Result<String, Errno>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(errno) => Self::Failed(errno),
        }
    }
}

const USAGE: i32 = 64;

/// A running workload.
pub(super) struct Workload {
    pub(super) context: Context,
    strict: bool,
}

/// The program.
pub(crate) async fn main(context: Context) -> End {
    let argv = context
        .process(|process| process.argv.to_vec())
        .unwrap_or_default();
    let mut workload = Workload {
        context,
        strict: false,
    };
    let mut rest = argv.get(1..).unwrap_or_default();
    while !rest.is_empty() {
        let (command, after) = split(rest);
        rest = after;
        if let Flow::End(end) = Box::pin(workload.command(command)).await {
            return end;
        }
    }
    End::Code(0)
}

/// The first command and what follows its separator. `exec` takes everything.
fn split(arguments: &[String]) -> (&[String], &[String]) {
    if arguments[0] == "exec" {
        return (arguments, &[]);
    }
    match arguments.iter().position(|argument| argument == ",") {
        Some(comma) => (&arguments[..comma], &arguments[comma + 1..]),
        None => (arguments, &[]),
    }
}

impl Workload {
    async fn command(&mut self, words: &[String]) -> Flow {
        let Some((name, arguments)) = words.split_first() else {
            return Flow::Next;
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = self.answer(name, &arguments).await;
        let (line, failed) = match answer {
            Answer::Value(value) => (format!("{}={value}\n", label(name, &arguments)), false),
            Answer::Failed(errno) => (format!("{}!{}\n", label(name, &arguments), errno.0), true),
            Answer::Text(text) => (text, false),
            Answer::FailedText(text) => (text, true),
            Answer::Silent => return Flow::Next,
            Answer::End(end) => return Flow::End(end),
            Answer::Usage(word) => {
                self.say(OutputStream::Stderr, format!("workload: usage: {word}\n"))
                    .await;
                return Flow::End(End::Code(USAGE));
            }
        };
        for line in line.split_inclusive('\n') {
            self.say(OutputStream::Stdout, line.to_owned()).await;
        }
        if failed && self.strict {
            Flow::End(End::Code(1))
        } else {
            Flow::Next
        }
    }

    pub(super) async fn say(&self, stream: OutputStream, data: impl Into<bytes::Bytes>) {
        self.context.write(stream, data).await;
    }

    async fn answer(&mut self, name: &str, arguments: &[&str]) -> Answer {
        match (name, arguments) {
            ("strict", []) => {
                self.strict = true;
                Answer::Silent
            }
            ("mark", [_]) => Answer::Silent,
            ("exit", [code]) => match code.parse() {
                Ok(code) => Answer::End(End::Code(code)),
                Err(_) => usage(name),
            },
            ("sleep", [ms]) => match ms.parse() {
                Ok(ms) => {
                    self.context.sleep(ms).await;
                    Answer::Silent
                }
                Err(_) => usage(name),
            },
            ("forever", []) => std::future::pending().await,
            ("exec", [program, ..]) => self.exec(program, arguments).await,
            ("kill", [signal]) => match signal.parse::<Signal>() {
                Ok(signal) => self.kill_self(signal).await,
                Err(_) => usage(name),
            },
            ("ignore" | "trap" | "trap-exit", [signal, ..]) => self.dispose(name, signal, &arguments[1..]),
            _ => self.by_group(name, arguments).await,
        }
    }

    async fn by_group(&mut self, name: &str, arguments: &[&str]) -> Answer {
        if let Some(answer) = self.output(name, arguments).await {
            return answer;
        }
        if let Some(answer) = self.identity(name, arguments) {
            return answer;
        }
        if let Some(answer) = self.files(name, arguments).await {
            return answer;
        }
        if let Some(answer) = self.processes(name, arguments).await {
            return answer;
        }
        if let Some(answer) = self.resources(name, arguments).await {
            return answer;
        }
        if let Some(answer) = self.network(name, arguments).await {
            return answer;
        }
        if let ("try", [call]) = (name, arguments) {
            return self.system_call(call);
        }
        usage(name)
    }

    fn dispose(&self, name: &str, signal: &str, more: &[&str]) -> Answer {
        let Ok(signal) = signal.parse::<Signal>() else {
            return usage(name);
        };
        let disposition = match (name, more) {
            ("ignore", []) => Disposition::Ignore,
            ("trap", []) => Disposition::Trap,
            ("trap-exit", [code]) => match code.parse() {
                Ok(code) => Disposition::TrapExit(code),
                Err(_) => return usage(name),
            },
            _ => return usage(name),
        };
        self.context
            .process(|process| process.dispositions.insert(signal, disposition));
        Answer::Silent
    }

    async fn kill_self(&self, signal: Signal) -> Answer {
        let context = &self.context;
        context
            .kernel(|kernel, now| kernel.kill(now, context.pid, context.pid, Some(signal)))
            .ok();
        // Its handlers run before it goes on.
        tokio::task::yield_now().await;
        Answer::Value("survived".to_owned())
    }

    /// Becomes another program.
    async fn exec(&self, program: &str, argv: &[&str]) -> Answer {
        let context = &self.context;
        let image = context.sandbox.container.config.image.clone();
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let world = std::sync::Arc::clone(&context.sandbox.world);
        let found = context.view(|view| {
            let by_path = |errno: Errno| errno;
            view.program(program).map_err(by_path).err().map_or_else(
                || {
                    Some(
                        crate::driver::find_program(&world, &image, view, &argv, "")
                            .map_err(|_| Errno("ENOEXEC")),
                    )
                },
                |errno| Some(Err(errno)),
            )
        });
        match found {
            Some(Ok((next, mode, owner))) => {
                context.process(|process| {
                    let privileges = process.privileges.after_exec(mode, owner);
                    process.privileges = std::sync::Arc::new(privileges);
                    process.argv = argv.into();
                    // Handlers do not survive; what is ignored stays so.
                    process
                        .dispositions
                        .retain(|_, disposition| *disposition == Disposition::Ignore);
                });
                let next: std::pin::Pin<Box<dyn Future<Output = End> + Send>> =
                    crate::driver::program(context.clone(), next);
                Answer::End(next.await)
            }
            Some(Err(errno)) => {
                self.say(OutputStream::Stdout, format!("exec!{}\n", errno.0))
                    .await;
                Answer::End(End::Code(if errno == Errno::ENOENT { 127 } else { 126 }))
            }
            None => Answer::Silent,
        }
    }
}

pub(super) fn usage(word: &str) -> Answer {
    Answer::Usage(word.to_owned())
}

/// What a result line begins with.
fn label(name: &str, arguments: &[&str]) -> String {
    match (name, arguments) {
        ("try", [call]) => format!("try-{call}"),
        _ => name.to_owned(),
    }
}
