//! Commands that use memory and processor time.

use std::time::Duration;

use super::{Answer, Workload, usage};
use crate::fs::Errno;
use crate::kernel::{End, MIB};

impl Workload {
    pub(super) async fn resources(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let answer = match (name, arguments) {
            ("alloc", [mib]) => match mib.parse::<u64>() {
                Ok(mib) => self.allocate(mib).await,
                Err(_) => usage(name),
            },
            ("alloc-child", [mib]) => match mib.parse::<u64>() {
                Ok(mib) => self.allocate_in_child(mib).await,
                Err(_) => usage(name),
            },
            ("burn", [ms, threads]) => match (ms.parse(), threads.parse()) {
                (Ok(ms), Ok(threads)) => self.burn(ms, threads).await,
                _ => usage(name),
            },
            _ => return None,
        };
        Some(answer)
    }

    async fn allocate(&self, mib: u64) -> Answer {
        let pid = self.context.pid;
        self.context
            .kernel(|kernel, now| kernel.allocate(now, pid, mib * MIB));
        // If the kernel has killed it, it never comes back from here.
        tokio::task::yield_now().await;
        Answer::Value(mib.to_string())
    }

    async fn allocate_in_child(&self, mib: u64) -> Answer {
        let pid = self.context.pid;
        let argv = self
            .context
            .process(|process| process.argv.clone())
            .unwrap_or_default();
        let end = self.context.kernel(|kernel, now| {
            let child = self.fork(kernel, now, pid, argv)?;
            kernel.allocate(now, child, mib * MIB);
            kernel.exit(now, child, End::Code(0));
            kernel.reap(pid, child).ok_or(Errno("ECHILD"))
        });
        tokio::task::yield_now().await;
        end.map(|end| match end {
            End::Code(code) => format!("exit {code}"),
            End::Signal(signal) => format!("signal {}", signal.number()),
        })
        .into()
    }

    async fn burn(&self, ms: u64, threads: u32) -> Answer {
        let pid = self.context.pid;
        let context = &self.context;
        let begun = context.kernel(|kernel, now| {
            if u64::from(threads.saturating_sub(1)) > kernel.free_tasks() {
                return None;
            }
            kernel.set_busy(now, pid, threads);
            kernel.living(pid).map(|process| (process.cpu, now))
        });
        let Some((cpu, start)) = begun else {
            return Answer::Failed(Errno("EAGAIN"));
        };
        context.sleep(ms).await;
        let (used, wall) = context.kernel(|kernel, now| {
            kernel.set_busy(now, pid, 0);
            let used = kernel.living(pid).map_or(Duration::ZERO, |process| process.cpu);
            (used.saturating_sub(cpu), now.saturating_sub(start))
        });
        Answer::Value(format!("{} {}", used.as_millis(), wall.as_millis()))
    }
}
