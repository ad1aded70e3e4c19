//! Users, groups and capabilities.

use std::sync::Arc;

use driver_types::{SeccompProfile, SecurityOptions};

use crate::fs::{Credentials, Errno, View};

/// Who a process is and what it may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privileges {
    /// The effective ids and capabilities.
    pub(crate) credentials: Credentials,
    /// The real user.
    pub(crate) real_uid: u32,
    /// The real group.
    pub(crate) real_gid: u32,
    /// The most capabilities that it can get.
    pub(crate) bounding: u64,
    pub(crate) no_new_privs: bool,
    pub(crate) seccomp: bool,
}

impl Privileges {
    pub(crate) fn new(user: &User, security: &SecurityOptions) -> Self {
        let bounding = security.capabilities.mask();
        Self {
            credentials: Credentials {
                uid: user.uid,
                gid: user.gid,
                groups: user.groups.clone(),
                capabilities: if user.uid == 0 { bounding } else { 0 },
            },
            real_uid: user.uid,
            real_gid: user.gid,
            bounding,
            no_new_privs: security.no_new_privileges,
            seccomp: security.seccomp == SeccompProfile::Default,
        }
    }

    /// After execve(2) of a file with this owner and mode.
    pub(crate) fn after_exec(&self, mode: u32, owner: u32) -> Self {
        let mut next = self.clone();
        if mode & 0o4000 != 0 && !self.no_new_privs {
            next.credentials.uid = owner;
        }
        next.credentials.capabilities = if next.credentials.uid == 0 {
            self.bounding
        } else {
            0
        };
        next
    }
}

/// A user of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<Arc<str>>,
}

/// Looks a `user[:group]` up in the files of the container, as container engines do: a number need not be known, a name
/// must be.
pub(crate) fn find_user(view: &View<'_>, text: &str) -> Result<User, String> {
    let table = |path: &str| match view.read(path) {
        Ok(content) => String::from_utf8_lossy(&content.to_vec()).into_owned(),
        Err(Errno::ENOENT | Errno::ENOTDIR) => String::new(),
        Err(_) => String::new(),
    };
    let passwd = table("/etc/passwd");
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let row = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.len() >= 6 && (fields[0] == wanted || fields[2] == wanted)).then_some(fields)
        })
    };
    let known = row(user);
    let number = |text: &str| text.parse::<u32>().ok();
    let uid = known
        .as_ref()
        .and_then(|fields| number(fields[2]))
        .or_else(|| number(user))
        .ok_or_else(|| format!("unable to find user {user}: no matching entries in passwd file"))?;
    let groups = table("/etc/group");
    let rows = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let gid = match group {
        Some(group) => rows
            .clone()
            .find(|fields| fields.len() >= 3 && (fields[0] == group || fields[2] == group))
            .and_then(|fields| number(fields[2]))
            .or_else(|| number(group))
            .ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))?,
        None => known.as_ref().and_then(|fields| number(fields[3])).unwrap_or(0),
    };
    let name = known.as_ref().map(|fields| fields[0]);
    // With a group given, engines do not look supplementary ones up.
    let supplementary = rows
        .filter(|fields| {
            group.is_none()
                && fields.len() >= 4
                && name.is_some_and(|name| fields[3].split(',').any(|member| member == name))
        })
        .filter_map(|fields| number(fields[2]))
        .collect();
    Ok(User {
        uid,
        gid,
        groups: supplementary,
        home: known.as_ref().map(|fields| fields[5].into()),
    })
}

#[cfg(test)]
mod tests {
    use driver_types::LinuxCapabilities;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["ALL"], &[], 0)]
    #[case(&["ALL"], &["NET_ADMIN"], 0x1000)]
    #[case(&["ALL"], &["CAP_NET_ADMIN"], 0x1000)]
    #[case(&[], &[], LinuxCapabilities::DEFAULT_MASK)]
    #[case(&["CHOWN"], &["SYS_ADMIN"], 0xa804_25fa | 1 << 21)]
    fn masks(#[case] drop: &[&str], #[case] add: &[&str], #[case] mask: u64) {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = SecurityOptions {
            capabilities: LinuxCapabilities {
                drop: list(drop),
                add: list(add),
            },
            ..SecurityOptions::default()
        };
        assert_eq!(security.capabilities.mask(), mask);
    }

    #[test]
    fn set_uid_counts_only_without_no_new_privileges() {
        let user = User {
            uid: 1000,
            gid: 1000,
            ..User::default()
        };
        let confined = Privileges::new(&user, &SecurityOptions::default());
        assert_eq!(confined.after_exec(0o4755, 0).credentials.uid, 1000);
        let free = Privileges::new(&user, &SecurityOptions::default().no_new_privileges(false));
        assert_eq!(free.after_exec(0o4755, 0).credentials.uid, 0);
    }
}
