//! Linux capabilities (capabilities(7)): their numbers, and the set that a config leaves.

use driver_types::SecurityOptions;

/// All capabilities, in the order of their numbers.
const NAMES: [&str; 41] = [
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

/// What Docker gives where nothing is dropped.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The set, as a bit mask, that is left of the default after `drop`, with `add` on top. Names are those of a validated
/// config: upper case, without `CAP_`, `ALL` for all.
pub(crate) fn resolve(security: &SecurityOptions) -> u64 {
    let capabilities = &security.capabilities;
    (mask(DEFAULT) & !mask(capabilities.drop.iter().map(String::as_str)))
        | mask(capabilities.add.iter().map(String::as_str))
}

fn mask<'a>(names: impl IntoIterator<Item = &'a str>) -> u64 {
    names.into_iter().fold(0, |mask, name| mask | bits(name))
}

fn bits(name: &str) -> u64 {
    if name == "ALL" {
        return (1 << NAMES.len()) - 1;
    }
    let number = NAMES.iter().position(|known| *known == name);
    number.map_or(0, |number| 1 << number)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing(&["ALL"], &[], 0)]
    #[case::dockers(&[], &[], 0xa804_25fb)]
    #[case::one_less(&["NET_RAW"], &[], 0xa804_05fb)]
    #[case::one_more(&["ALL"], &["SYS_ADMIN"], 1 << 21)]
    #[case::all(&["ALL"], &["ALL"], (1 << 41) - 1)]
    fn sets(#[case] drop: &[&str], #[case] add: &[&str], #[case] expected: u64) {
        let mut security = SecurityOptions::default();
        security.capabilities.drop = drop.iter().map(ToString::to_string).collect();
        security.capabilities.add = add.iter().map(ToString::to_string).collect();
        assert_eq!(resolve(&security), expected);
    }
}
