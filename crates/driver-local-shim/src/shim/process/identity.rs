//! Users and groups, as the files in the container's root name them.

use std::os::fd::OwnedFd;

use driver_local_shim::{Identity, Stage};
use rustix::fs::{Gid, Uid};

use crate::failure::{At, Failure, Result};
use crate::inside;

/// The longest passwd or group file that is read.
const LIMIT: u64 = 4 << 20;

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// The supplementary groups: never those of the process that made the container.
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: String,
}

/// A line of a passwd file.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Finds the ids of `identity`. A number needs no files; a name that is nowhere is an error.
pub(super) fn resolve(root: OwnedFd, identity: &Identity) -> Result<Ids> {
    let read = |path: &str| {
        let bytes = inside::read(&root, path, LIMIT).at(Stage::Privileges, || path.to_owned())?;
        Result::Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    find(identity, &read("/etc/passwd")?, &read("/etc/group")?)
}

fn find(identity: &Identity, passwd: &str, group: &str) -> Result<Ids> {
    let number = id(&identity.user);
    let mut users = passwd.lines().filter_map(user);
    let known = users.find(|user| number.map_or(user.name == identity.user, |number| user.uid == number));
    let uid = match (&known, number) {
        (Some(user), _) => user.uid,
        (None, Some(number)) => number,
        (None, None) => return Err(unknown("user", &identity.user, "/etc/passwd")),
    };
    let (gid, mut groups) = match &identity.group {
        Some(wanted) => (named_group(wanted, group)?, Vec::new()),
        None => (
            known.as_ref().map_or(0, |user| user.gid),
            known
                .as_ref()
                .map_or_else(Vec::new, |user| groups_of(user.name, group)),
        ),
    };
    // Without its own group among them, a process could escape a file's refusal of the group (CVE-2022-2989).
    groups.insert(0, gid);
    groups.dedup();
    let home = known.as_ref().map_or("", |user| user.home);
    Ok(Ids {
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
        groups: groups.into_iter().map(Gid::from_raw).collect(),
        home: if home.is_empty() { "/" } else { home }.to_owned(),
    })
}

fn named_group(wanted: &str, group: &str) -> Result<u32> {
    if let Some(number) = id(wanted) {
        return Ok(number);
    }
    let mut groups = group.lines().filter_map(group_line);
    let found = groups.find(|(name, ..)| *name == wanted);
    found
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| unknown("group", wanted, "/etc/group"))
}

fn groups_of(user: &str, group: &str) -> Vec<u32> {
    let groups = group.lines().filter_map(group_line);
    let of_user = groups.filter(|(_, _, members)| members.split(',').any(|member| member == user));
    of_user.map(|(_, gid, _)| gid).collect()
}

fn user(line: &str) -> Option<User<'_>> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let home = fields.nth(1).unwrap_or("");
    let (uid, gid) = (id(uid)?, id(gid)?);
    Some(User { name, uid, gid, home })
}

/// Name, number and members.
fn group_line(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, id(gid)?, fields.next().unwrap_or("").trim_end()))
}

/// A number that the kernel takes for an id; the highest means "leave it as it is".
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn unknown(what: &str, name: &str, file: &str) -> Failure {
    Failure::new(
        Stage::Privileges,
        format!("{what} {name:?} is not in the container's {file}; give a number or a name that is"),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n\nbroken\nada:x:1000:1001:Ada:/home/ada:/bin/sh\n7:x:0:0::/:\n";
    const GROUP: &str = "root:x:0:\nada:x:1001:\ntape:x:26:bob,ada\nvideo:x:44:ada\n";

    #[rstest]
    #[case("ada", None, 1000, 1001, &[1001, 26, 44], "/home/ada")]
    #[case("1000", None, 1000, 1001, &[1001, 26, 44], "/home/ada")]
    #[case("ada", Some("video"), 1000, 44, &[44], "/home/ada")]
    #[case("1000", Some("3000"), 1000, 3000, &[3000], "/home/ada")]
    #[case("4000", None, 4000, 0, &[0], "/")]
    #[case("4000", Some("4000"), 4000, 4000, &[4000], "/")]
    // A name of digits does not make another user of a number.
    #[case("7", None, 7, 0, &[0], "/")]
    fn found(
        #[case] user: &str,
        #[case] group: Option<&str>,
        #[case] uid: u32,
        #[case] gid: u32,
        #[case] groups: &[u32],
        #[case] home: &str,
    ) {
        let identity = Identity {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        };
        let ids = find(&identity, PASSWD, GROUP).expect("it is known");
        assert_eq!(
            (ids.uid.as_raw(), ids.gid.as_raw(), ids.home.as_str()),
            (uid, gid, home)
        );
        let found: Vec<_> = ids.groups.iter().map(|group| group.as_raw()).collect();
        assert_eq!(found, groups);
    }

    #[rstest]
    #[case("nobody", None, "user \"nobody\"")]
    #[case("", None, "user \"\"")]
    #[case("4294967295", None, "user \"4294967295\"")]
    #[case("-1", None, "user \"-1\"")]
    #[case("ada", Some("wheel"), "group \"wheel\"")]
    fn not_found(#[case] user: &str, #[case] group: Option<&str>, #[case] named: &str) {
        let identity = Identity {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        };
        let failure = find(&identity, PASSWD, GROUP).expect_err("it is not known");
        assert_eq!(failure.stage, Stage::Privileges);
        assert!(failure.message.contains(named), "{}", failure.message);
    }
}
