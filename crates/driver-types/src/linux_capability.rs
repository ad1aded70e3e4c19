//! Linux capabilities (capabilities(7)): their names, and the set that a config leaves.

use crate::LinuxCapabilities;

impl LinuxCapabilities {
    /// All capabilities without the prefix `CAP_`, in the order of their numbers (`linux/capability.h`).
    pub const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];

    /// The word for every one.
    pub const ALL: &str = "ALL";

    /// Docker's default set, from which `drop` takes away: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
    /// SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP; one bit a number.
    pub const DEFAULT_MASK: u64 = 0xa804_25fb;

    /// The number of the capability with this name, in upper case, with or without `CAP_`.
    pub fn number(name: &str) -> Option<u32> {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        let number = Self::NAMES.iter().position(|known| *known == name)?;
        u32::try_from(number).ok()
    }

    /// What root in the container can have at most, one bit a number: the default set without `drop`, then with `add`.
    /// A name that does not exist has no bit; validation refuses it before.
    pub fn mask(&self) -> u64 {
        Self::DEFAULT_MASK & !bits(&self.drop) | bits(&self.add)
    }
}

fn bits(names: &[String]) -> u64 {
    names.iter().fold(0, |mask, name| match name.as_str() {
        LinuxCapabilities::ALL => (1 << LinuxCapabilities::NAMES.len()) - 1,
        name => mask | LinuxCapabilities::number(name).map_or(0, |number| 1 << number),
    })
}
