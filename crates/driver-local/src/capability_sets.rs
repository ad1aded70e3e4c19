//! Linux capabilities by name, and the set that a container gets.

use driver_types::SecurityOptions;

/// capabilities(7) in the order of their numbers, in linux/capability.h.
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

/// All of them.
const ALL: u64 = (1 << NAMES.len()) - 1;

/// What Docker gives a container that drops nothing.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The bit of the capability with this name, in upper case without `CAP_`; of every capability for `ALL`. A name that
/// does not exist has no bit: validation refuses it before a driver sees it.
pub(crate) fn bit(name: &str) -> u64 {
    if name == "ALL" {
        return ALL;
    }
    NAMES
        .iter()
        .position(|known| *known == name)
        .map_or(0, |number| 1 << number)
}

/// The capabilities that root in the container can have at most, as a bit mask: Docker's default set without what is
/// dropped, and then with what is added. Names are those of a validated config.
pub(crate) fn resolve(security: &SecurityOptions) -> u64 {
    let capabilities = &security.capabilities;
    mask(&DEFAULT) & !mask(&capabilities.drop) | mask(&capabilities.add)
}

fn mask(names: &[impl AsRef<str>]) -> u64 {
    names.iter().fold(0, |mask, name| mask | bit(name.as_ref()))
}

#[cfg(test)]
mod tests {
    use driver_types::LinuxCapabilities;
    use rstest::rstest;

    use super::*;

    fn resolved(drop: &[&str], add: &[&str]) -> u64 {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        resolve(&SecurityOptions {
            capabilities: LinuxCapabilities {
                drop: list(drop),
                add: list(add),
            },
            ..SecurityOptions::default()
        })
    }

    #[rstest]
    #[case::nothing(&["ALL"], &[], 0)]
    #[case::only_added(&["ALL"], &["NET_ADMIN"], 1 << 12)]
    #[case::two_added(&["ALL"], &["CHOWN", "CHECKPOINT_RESTORE"], 1 | 1 << 40)]
    #[case::everything(&["ALL"], &["ALL"], 0x1ff_ffff_ffff)]
    #[case::docker_default(&[], &[], 0xa804_25fb)]
    #[case::default_and_more(&[], &["SYS_ADMIN"], 0xa804_25fb | 1 << 21)]
    #[case::default_but_one(&["CHOWN"], &[], 0xa804_25fa)]
    #[case::dropped_and_added(&["CHOWN"], &["CHOWN"], 0xa804_25fb)]
    #[case::not_a_default(&["SYS_ADMIN"], &[], 0xa804_25fb)]
    #[case::all_added(&[], &["ALL"], 0x1ff_ffff_ffff)]
    #[case::add_comes_last(&["CHOWN"], &["ALL"], 0x1ff_ffff_ffff)]
    fn sets(#[case] drop: &[&str], #[case] add: &[&str], #[case] expected: u64) {
        assert_eq!(resolved(drop, add), expected);
    }

    #[test]
    fn the_default_of_the_contract_is_nothing() {
        assert_eq!(resolve(&SecurityOptions::default()), 0);
    }

    /// Numbers of linux/capability.h across the table.
    #[rstest]
    #[case("CHOWN", 0)]
    #[case("SETPCAP", 8)]
    #[case("IPC_LOCK", 14)]
    #[case("SYS_ADMIN", 21)]
    #[case("SETFCAP", 31)]
    #[case("SYSLOG", 34)]
    #[case("BPF", 39)]
    fn numbers(#[case] name: &str, #[case] number: u32) {
        assert_eq!(bit(name), 1 << number);
    }

    #[test]
    fn what_does_not_exist_gives_nothing() {
        assert_eq!(resolved(&["ALL"], &["MAKE_COFFEE"]), 0);
    }
}
