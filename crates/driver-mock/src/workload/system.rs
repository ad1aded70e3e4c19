//! `try`: system calls that a container must not get.

use driver_types::LinuxCapabilities;

use super::{Answer, Workload};
use crate::fs::Errno;

impl Workload {
    pub(super) fn system_call(&self, name: &str) -> Answer {
        let Some(privileges) = self
            .context
            .process(|process| std::sync::Arc::clone(&process.privileges))
        else {
            return Answer::Silent;
        };
        let has = |capability: &str| {
            LinuxCapabilities::number(capability).is_some_and(|number| privileges.credentials.has(number))
        };
        let needs = |capability: &str| {
            if has(capability) {
                Ok(())
            } else {
                Err(Errno::EPERM)
            }
        };
        // The default filter lets these through only with their capability.
        let filtered = |capability: &str| {
            if privileges.seccomp {
                needs(capability)
            } else {
                Ok(())
            }
        };
        let invalid = || Err(Errno::EINVAL);
        let result = match name {
            "mount" | "umount" | "setns" | "unshare-mount" | "unshare-net" => needs("SYS_ADMIN"),
            "unshare-user" => filtered("SYS_ADMIN"),
            "ptrace" => self.may_trace(has("SYS_PTRACE")),
            "bpf" => needs("BPF").and_then(|()| invalid()),
            "keyctl" | "add-key" => filtered("SYS_ADMIN").and_then(|()| invalid()),
            "perf" => needs("PERFMON").and_then(|()| invalid()),
            "userfaultfd" => needs("SYS_PTRACE"),
            "kexec" => needs("SYS_BOOT").and_then(|()| invalid()),
            "init-module" => needs("SYS_MODULE").and_then(|()| invalid()),
            "open-by-handle" => needs("DAC_READ_SEARCH").and_then(|()| invalid()),
            "chroot" => needs("SYS_CHROOT"),
            "mknod" => needs("MKNOD"),
            "setuid" => {
                if privileges.credentials.uid == 0 {
                    Ok(())
                } else {
                    needs("SETUID")
                }
            }
            "sethostname" => needs("SYS_ADMIN"),
            "raw-socket" => needs("NET_RAW"),
            "write-sysrq" => self.open_for_writing("/proc/sysrq-trigger"),
            "write-sysctl" => self.open_for_writing("/proc/sys/kernel/hostname"),
            "read-kcore" => match self.sys(|view| view.read("/proc/kcore")) {
                Ok(content) if content.len() == 0 => Err(Errno("EMPTY")),
                Ok(_) => Ok(()),
                Err(errno) => Err(errno),
            },
            other => return Answer::Usage(other.to_owned()),
        };
        result.map(|()| "ok".to_owned()).into()
    }

    fn open_for_writing(&self, path: &str) -> Result<(), Errno> {
        self.sys(|view| view.open_write(path, false)).map(drop)
    }

    /// ptrace(2) of the parent, or of pid 1: one's own processes, if their dumpable bit and Yama allow it.
    fn may_trace(&self, capable: bool) -> Result<(), Errno> {
        let own = self.context.pid;
        self.context.kernel(|kernel, _| {
            let parent = kernel.living(own).map_or(0, |process| process.parent);
            let target = if parent <= 1 { 1 } else { parent };
            let uid = kernel.living(own).map(|process| process.credentials().uid);
            let same = target != own && kernel.living(target).map(|process| process.credentials().uid) == uid;
            if capable || same {
                Ok(())
            } else {
                Err(Errno::EPERM)
            }
        })
    }
}
