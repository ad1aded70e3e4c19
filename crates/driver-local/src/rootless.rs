//! A driver that is not root: its containers are in user namespaces, whose ids are the user's own and those that
//! `/etc/subuid` and `/etc/subgid` grant.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use driver_local_shim::{HoldTask, IdMap, NetworkNamespace, Report, Root, Sandbox, Task, UserNamespace};
use driver_types::{Capabilities, Capability as C, SecurityOptions, Support};
use rustix::process::{getegid, geteuid};

use crate::layout::Layout;
use crate::shim::Shim;

/// Where the programs that map granted ids are looked for, as the shim does.
const PATHS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How long an attempt may take: much longer than it does.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);

/// The ids that Linux distributions use, `nobody` included.
const ALL_IDS: u64 = 65_536;

/// How containers of this user are made, and what stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rootless {
    /// The namespace of each container.
    pub(crate) namespace: UserNamespace,
    /// Why the namespace has one id only.
    pub(crate) one_id: Option<String>,
    /// Why no container can be made.
    pub(crate) refused: Option<Refused>,
}

/// What the kernel does not allow, and who can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Rootless {
    /// Tries out what this user can have; `None` for root. What is tried is an empty root in a namespace, as containers
    /// have theirs.
    pub(crate) fn look(shim: &Shim, layout: &Layout) -> Option<Self> {
        if geteuid().is_root() {
            return None;
        }
        let attempt = |namespace: UserNamespace| match try_out(shim, layout, &namespace) {
            Ok(()) => Ok(namespace),
            Err(reason) => Err(reason),
        };
        let one_id = match granted().and_then(attempt) {
            Ok(namespace) => {
                return Some(Self {
                    namespace,
                    one_id: None,
                    refused: None,
                });
            }
            Err(reason) => Some(reason),
        };
        let namespace = only_own();
        let refused = attempt(namespace.clone()).err().map(|reason| refused(&reason));
        Some(Self {
            namespace,
            one_id,
            refused,
        })
    }

    /// What becomes of the owners of files in archives. `None`: they stay.
    pub(crate) fn owners(&self) -> Option<String> {
        let ids = self.ids();
        match &self.one_id {
            Some(_) => Some("all files belong to the one id, whatever an archive says".to_owned()),
            None if ids < ALL_IDS => Some(format!(
                "archives with files of ids from {ids} on are refused; grant {ALL_IDS} in /etc/subuid and /etc/subgid"
            )),
            None => None,
        }
    }

    /// How many users there are in a container.
    fn ids(&self) -> u64 {
        self.namespace.uids.iter().map(|map| u64::from(map.count)).sum()
    }

    /// What a user namespace takes from what the driver can do.
    pub(crate) fn reduce(&self, capabilities: Capabilities) -> Capabilities {
        let ids = self.ids();
        let user = match &self.one_id {
            Some(reason) => Support::none(format!(
                "all processes have the one id of the user who runs the driver, inside as {}: {reason}",
                SecurityOptions::default().user
            )),
            None if ids < ALL_IDS => Support::emulated(format!(
                "ids from {ids} on do not exist; grant {ALL_IDS} in /etc/subuid and /etc/subgid"
            )),
            None => Support::native(),
        };
        let files = || self.owners().map_or_else(Support::native, Support::emulated);
        let own = "they hold in the container's user namespace, not for what is the host's, as its clock";
        capabilities
            .with(C::User, user)
            .with(C::Copy, files())
            .with(C::ImportImage, files())
            .with(C::LinuxCapabilities, Support::emulated(own))
            .with(
                C::DiskLimit,
                Support::none(
                    "what limits a writable root cannot outlive a run without root; run the driver as root, or keep \
                     security.readOnly and write to tmpfs, which is limited",
                ),
            )
    }
}

/// A namespace of the user's own ids alone, which the default user of containers has inside.
fn only_own() -> UserNamespace {
    let (inside, _) = default_ids();
    let only = |inside, outside| {
        vec![IdMap {
            inside,
            outside,
            count: 1,
        }]
    };
    UserNamespace {
        uids: only(inside, geteuid().as_raw()),
        gids: only(default_ids().1, getegid().as_raw()),
        by_helpers: false,
    }
}

/// User and group of a config that names none.
pub(crate) fn default_ids() -> (u32, u32) {
    let user = SecurityOptions::default().user;
    let ids = user.split_once(':');
    let ids = ids.and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.unwrap_or((0, 0))
}

/// The namespace that this system grants to the user: root is the user, and from 1 on come the granted ids.
fn granted() -> Result<UserNamespace, String> {
    for program in ["newuidmap", "newgidmap"] {
        if !PATHS.iter().any(|path| Path::new(path).join(program).is_file()) {
            return Err(format!(
                "the program `{program}` is missing; install uidmap (Debian) or shadow-utils"
            ));
        }
    }
    let uid = geteuid();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.as_raw()));
    let name = user.ok().flatten().map(|user| user.name).unwrap_or_default();
    let ids = |file: &str, own: u32| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let ranges = ranges(&text, &name, uid.as_raw());
        let total: u64 = ranges.iter().map(|(_, count)| u64::from(*count)).sum();
        let (user, group) = default_ids();
        if total < u64::from(user.max(group)) {
            return Err(format!(
                "{file} grants {total} ids to user {uid}; grant {ALL_IDS}: `usermod --add-subuids 100000-165535 \
                 --add-subgids 100000-165535 {}`",
                if name.is_empty() { "NAME" } else { &name }
            ));
        }
        Ok(maps(own, &ranges))
    };
    Ok(UserNamespace {
        uids: ids("/etc/subuid", uid.as_raw())?,
        gids: ids("/etc/subgid", getegid().as_raw())?,
        by_helpers: true,
    })
}

/// The first id and the count of each range of a user, by name or number: subuid(5).
fn ranges(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let is_own = (!name.is_empty() && owner == name) || owner.parse() == Ok(uid);
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        (is_own && count > 0 && first.checked_add(count).is_some()).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

fn maps(own: u32, ranges: &[(u32, u32)]) -> Vec<IdMap> {
    let mut maps = vec![IdMap {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside = 1_u32;
    for (outside, count) in ranges {
        let count = (*count).min(u32::MAX - inside);
        maps.push(IdMap {
            inside,
            outside: *outside,
            count,
        });
        inside += count;
    }
    maps
}

/// Makes a root in such a namespace, and lets it go.
fn try_out(shim: &Shim, layout: &Layout, namespace: &UserNamespace) -> Result<(), String> {
    let empty = layout.networks().to_string_lossy().into_owned();
    let sandbox = Sandbox {
        hostname: "attempt".to_owned(),
        network: NetworkNamespace::New,
        user: Some(namespace.clone()),
        root: Root {
            lower: vec![empty],
            writable: None,
        },
        mounts: Vec::new(),
        working_dir: "/".to_owned(),
        shm_bytes: 0,
    };
    match shim.attempt(&Task::Hold(Box::new(HoldTask { sandbox })), Some(ATTEMPT_LIMIT)) {
        Ok(Report::Holding { .. }) => Ok(()),
        Ok(Report::Failed { message, .. }) => Err(message),
        Ok(_) => Err("the shim answered another question".to_owned()),
        Err(error) => Err(format!("the shim did not answer: {error}")),
    }
}

/// Which of the known switches is the reason.
fn refused(reason: &str) -> Refused {
    let setting = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let settings = [
        ("user.max_user_namespaces", "0", "15000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ];
    let set = settings.into_iter().find(|(name, bad, _)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        setting(&path) == *bad
    });
    explained(reason, set)
}

fn explained(reason: &str, set: Option<(&str, &str, &str)>) -> Refused {
    match set {
        Some((name, bad, good)) => Refused {
            message: format!("users without rights may not make user namespaces: {name} is {bad} ({reason})"),
            remedy: format!("as root: `sysctl -w {name}={good}`, and keep it in /etc/sysctl.d; or run the driver as root"),
        },
        None => Refused {
            message: format!("this user cannot make containers in user namespaces: {reason}"),
            remedy: "use a kernel with CONFIG_USER_NS and Linux 5.12 or later; inside of another container let its engine \
                     allow user namespaces and mounts; or run the driver as root"
                .to_owned(),
        },
    }
}

/// Why others could change what is in the state directory, and with the way out.
pub(crate) fn foreign(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let own = geteuid().as_raw();
    if found.uid() != own {
        return Some(format!(
            "{} belongs to user {}, and this process is user {own}",
            path.display(),
            found.uid()
        ));
    }
    let mode = found.mode() & 0o7777;
    (mode & 0o022 != 0).then(|| format!("others may write to {} (mode {mode:o})", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use driver_types::SupportLevel;
    use rstest::rstest;

    use super::*;

    const SUBUID: &str =
        "ada:100000:65536\n# a comment\nbob:165536:65536\n1000:300000:10\nbroken:1\nada:400000:x\n";

    #[rstest]
    #[case("ada", 7, &[(100_000, 65_536)])]
    #[case("ada", 1000, &[(100_000, 65_536), (300_000, 10)])]
    #[case("", 1000, &[(300_000, 10)])]
    #[case("eve", 7, &[])]
    fn ranges_are_those_of_a_name_or_a_number(
        #[case] name: &str,
        #[case] uid: u32,
        #[case] expected: &[(u32, u32)],
    ) {
        assert_eq!(ranges(SUBUID, name, uid), expected);
    }

    #[test]
    fn root_is_the_user_and_the_granted_ids_follow_without_a_gap() {
        let maps = maps(1000, &[(100_000, 10), (300_000, 5)]);
        let numbers: Vec<_> = maps
            .iter()
            .map(|map| (map.inside, map.outside, map.count))
            .collect();
        assert_eq!(numbers, [(0, 1000, 1), (1, 100_000, 10), (11, 300_000, 5)]);
    }

    #[test]
    fn the_default_user_has_the_one_id() {
        let namespace = only_own();
        assert_eq!(namespace.uids[0].inside, 1000);
        assert_eq!(namespace.uids[0].outside, geteuid().as_raw());
        assert!(!namespace.by_helpers);
    }

    fn rootless(one_id: Option<&str>, count: u32) -> Rootless {
        Rootless {
            namespace: UserNamespace {
                uids: maps(1000, &[(100_000, count)]),
                ..only_own()
            },
            one_id: one_id.map(str::to_owned),
            refused: None,
        }
    }

    #[rstest]
    #[case(rootless(Some("no uidmap"), 65_536), SupportLevel::None, "no uidmap")]
    #[case(rootless(None, 2000), SupportLevel::Emulated, "ids from 2001 on")]
    #[case(rootless(None, 65_536), SupportLevel::Native, "")]
    fn users_are_as_many_as_ids(#[case] rootless: Rootless, #[case] level: SupportLevel, #[case] told: &str) {
        let capabilities = rootless.reduce(Capabilities::all());
        let user = capabilities.get(C::User);
        assert_eq!(user.level, level);
        assert!(user.reason.unwrap_or_default().contains(told));
        let files = [C::Copy, C::ImportImage].map(|files| capabilities.get(files).level);
        let expected = match level {
            SupportLevel::Native => SupportLevel::Native,
            _ => SupportLevel::Emulated,
        };
        assert_eq!(files, [expected; 2]);
        assert!(!capabilities.supports(C::DiskLimit));
    }

    #[test]
    fn a_switch_of_the_system_is_named_with_its_other_position() {
        let told = explained("clone: ENOSPC", Some(("user.max_user_namespaces", "0", "15000")));
        assert!(told.message.contains("user.max_user_namespaces is 0"), "{told:?}");
        assert!(
            told.remedy.contains("sysctl -w user.max_user_namespaces=15000"),
            "{told:?}"
        );
        let other = explained("mounting", None);
        assert!(other.message.contains("mounting") && other.remedy.contains("CONFIG_USER_NS"));
    }

    #[test]
    fn a_directory_that_others_can_change_is_foreign() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(foreign(directory.path()), None);
        assert_eq!(foreign(&directory.path().join("missing")), None);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(foreign(directory.path()).unwrap().contains("mode 777"));
        if geteuid().is_root() {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(directory.path(), Some(1), None).unwrap();
            assert!(foreign(directory.path()).unwrap().contains("belongs to user 1"));
        } else {
            assert!(foreign(Path::new("/")).unwrap().contains("belongs to user 0"));
        }
    }
}
