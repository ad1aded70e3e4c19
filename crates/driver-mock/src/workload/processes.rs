//! Commands that start and watch processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use driver_types::Signal;

use super::text::escape;
use super::{Answer, Workload, usage};
use crate::fs::{Errno, Sys};
use crate::kernel::{Disposition, End, Kernel, ProcessSpec, Role, Stdio};

/// The first two words of a sleeper's command line.
const SLEEPER: [&str; 2] = ["/proc/self/exe", "sleeper"];

impl Workload {
    pub(super) async fn processes(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let answer = match (name, arguments) {
            ("fork", [count, mark]) => match count.parse() {
                Ok(count) => self.fork_sleepers(count, mark),
                Err(_) => usage(name),
            },
            ("tree", [kind, mark]) => self.tree(kind, mark),
            ("count", [mark]) => {
                let sleeps = |argv: &[String]| argv.len() == 3 && argv[1] == SLEEPER[1] && argv[2] == *mark;
                let count = self.context.kernel(|kernel, _| {
                    let living = kernel.processes.values().filter(|process| process.end.is_none());
                    living.filter(|process| sleeps(&process.argv)).count()
                });
                Answer::Value(count.to_string())
            }
            ("reap", []) => Answer::Value(self.reap_children().to_string()),
            ("zombie", [count]) => match count.parse() {
                Ok(count) => self.short_lived(count, false),
                Err(_) => usage(name),
            },
            ("orphan", [count]) => match count.parse() {
                Ok(count) => self.short_lived(count, true),
                Err(_) => usage(name),
            },
            ("zombies", [ms]) => match ms.parse::<u64>() {
                Ok(ms) => self.await_no_zombies(ms).await,
                Err(_) => usage(name),
            },
            ("ps", []) => self.list_processes(),
            ("signal-pid", [pid, signal]) => self.signal_pid(pid, signal),
            _ => return None,
        };
        Some(answer)
    }

    /// A child that does nothing, as fork(2) makes it.
    pub(super) fn fork(
        &self,
        kernel: &mut Kernel,
        now: std::time::Duration,
        parent: u32,
        argv: Arc<[String]>,
    ) -> Sys<u32> {
        let own = kernel.living(self.context.pid).ok_or(Errno("ESRCH"))?;
        let spec = ProcessSpec {
            parent,
            role: Role::Program,
            argv,
            env: Arc::clone(&own.env),
            cwd: Arc::clone(&own.cwd),
            privileges: Arc::clone(&own.privileges),
            stdio: Stdio::null(),
            exec: own.exec,
            dispositions: BTreeMap::new(),
            memory: crate::driver::PROCESS_MEMORY,
        };
        kernel.spawn(now, spec)
    }

    fn sleeper_argv(mark: &str) -> Arc<[String]> {
        [SLEEPER[0], SLEEPER[1], mark].map(str::to_owned).into()
    }

    fn fork_sleepers(&self, count: u64, mark: &str) -> Answer {
        let pid = self.context.pid;
        for started in 0..count {
            let forked = self
                .context
                .kernel(|kernel, now| self.fork(kernel, now, pid, Self::sleeper_argv(mark)));
            if let Err(errno) = forked {
                return Answer::FailedText(format!("fork!{}\nfork={started}\n", errno.0));
            }
        }
        Answer::Value(count.to_string())
    }

    fn tree(&self, kind: &str, mark: &str) -> Answer {
        let pid = self.context.pid;
        let result = self.context.kernel(|kernel, now| {
            let argv = Self::sleeper_argv(mark);
            match kind {
                "child" | "setsid" | "unname" => self.fork(kernel, now, pid, argv).map(drop),
                "grandchild" => {
                    let child = self.fork(kernel, now, pid, Arc::clone(&argv))?;
                    self.fork(kernel, now, child, argv).map(drop)
                }
                "daemon" => self.fork(kernel, now, 1, argv).map(drop),
                "ignore" => {
                    let child = self.fork(kernel, now, pid, argv)?;
                    if let Some(child) = kernel.living(child) {
                        let ignored = [Signal::TERM, Signal::INT, Signal::HUP]
                            .map(|signal| (signal, Disposition::Ignore));
                        child.dispositions.extend(ignored);
                    }
                    Ok(())
                }
                "held" => {
                    let output = kernel.living(pid).map(|own| own.stdio.output.clone());
                    let child = self.fork(kernel, now, pid, argv)?;
                    if let (Some(child), Some(output)) = (kernel.living(child), output) {
                        child.stdio.output = output;
                    }
                    Ok(())
                }
                _ => Err(Errno::EINVAL),
            }
        });
        match result {
            Err(Errno::EINVAL) => usage("tree"),
            result => result.map(|()| kind.to_owned()).into(),
        }
    }

    fn children(kernel: &Kernel, parent: u32) -> Vec<u32> {
        let own = kernel
            .processes
            .iter()
            .filter(|(_, process)| process.parent == parent);
        own.map(|(pid, _)| *pid).collect()
    }

    fn reap_children(&self) -> usize {
        let pid = self.context.pid;
        self.context.kernel(|kernel, now| {
            let children = Self::children(kernel, pid);
            for child in &children {
                kernel.deliver(now, *child, Signal::KILL);
                kernel.reap(pid, *child);
            }
            children.len()
        })
    }

    /// Children that end at once and are not reaped, or grandchildren that are orphans when they end.
    fn short_lived(&self, count: u64, orphaned: bool) -> Answer {
        let pid = self.context.pid;
        let argv: Arc<[String]> = self
            .context
            .process(|process| process.argv.clone())
            .unwrap_or_default();
        for _ in 0..count {
            let forked = self.context.kernel(|kernel, now| {
                let child = self.fork(kernel, now, if orphaned { 1 } else { pid }, Arc::clone(&argv))?;
                kernel.exit(now, child, End::Code(0));
                Ok(())
            });
            if let Err(errno) = forked {
                return Answer::Failed(errno);
            }
        }
        Answer::Value(count.to_string())
    }

    fn zombies(&self) -> usize {
        self.context.kernel(|kernel, _| {
            kernel
                .processes
                .values()
                .filter(|process| process.end.is_some())
                .count()
        })
    }

    async fn await_no_zombies(&self, ms: u64) -> Answer {
        let mut left = ms;
        while self.zombies() > 0 && left > 0 {
            let step = left.min(10);
            self.context.sleep(step).await;
            left -= step;
        }
        Answer::Value(self.zombies().to_string())
    }

    fn list_processes(&self) -> Answer {
        let lines: Vec<String> = self.context.kernel(|kernel, _| {
            let line = |pid: &u32, process: &crate::kernel::Process| {
                let argv = if process.end.is_some() {
                    String::new()
                } else {
                    process.argv.join(" ")
                };
                format!("proc={pid} {}\n", escape(argv.as_bytes()))
            };
            kernel
                .processes
                .iter()
                .map(|(pid, process)| line(pid, process))
                .collect()
        });
        Answer::Text(format!("ps={}\n{}", lines.len(), lines.concat()))
    }

    fn signal_pid(&self, pid: &str, signal: &str) -> Answer {
        let signal = match signal {
            "0" => None,
            name => match name.parse::<Signal>() {
                Ok(signal) => Some(signal),
                Err(_) => return usage("signal-pid"),
            },
        };
        let Ok(target) = pid.parse::<u32>() else {
            return usage("signal-pid");
        };
        let from = self.context.pid;
        let sent = self
            .context
            .kernel(|kernel, now| kernel.kill(now, from, target, signal));
        sent.map(|()| "ok".to_owned()).into()
    }
}
