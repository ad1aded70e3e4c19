//! Finding the cgroups that this process may use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroups, OWN, V1, V2, files};

/// The controllers of version 1 that are used where they are mounted.
const V1_CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio"];
/// The controllers of version 2 without which it is of no use.
const V2_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// `cgroup` or `cgroup2`.
    version: String,
    /// The part of the hierarchy that the mount shows.
    root: String,
    point: PathBuf,
    /// Controllers, of version 1.
    controllers: Vec<String>,
}

pub(super) fn detect() -> io::Result<Cgroups> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let hierarchies = hierarchies(&mounts);
    let v2 = hierarchies
        .iter()
        .find(|hierarchy| hierarchy.version == "cgroup2");
    let mut reasons = Vec::new();
    if let Some(hierarchy) = v2 {
        match unified(hierarchy, own_path(&own, "")) {
            Ok(v2) => return Ok(Cgroups::V2(v2)),
            Err(reason) => reasons.push(reason),
        }
    }
    let mut controllers = BTreeMap::new();
    for name in V1_CONTROLLERS {
        let of_name = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|other| other == name);
        if let Some(hierarchy) = hierarchies.iter().find(of_name)
            && let Some(parent) = writable(&hierarchy.point)
        {
            controllers.insert(name, parent);
        }
    }
    if controllers.is_empty() {
        reasons.push(
            "no controller of version 1 can be written; run as root, or use a host with cgroup v2".to_owned(),
        );
        return Ok(Cgroups::None {
            reason: reasons.join("; "),
        });
    }
    Ok(Cgroups::V1(V1::new(controllers)))
}

/// The mount points of cgroups in the text of `/proc/self/mountinfo` (proc(5)).
fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let mut rest = rest.split(' ');
        let version = rest.next()?.to_owned();
        let options = rest.nth(1).unwrap_or_default();
        matches!(version.as_str(), "cgroup" | "cgroup2").then(|| Hierarchy {
            controllers: match version.as_str() {
                "cgroup" => options.split(',').map(str::to_owned).collect(),
                _ => Vec::new(),
            },
            version,
            root: fields.get(3).copied().unwrap_or("/").to_owned(),
            point: PathBuf::from(fields.get(4).copied().unwrap_or_default()),
        })
    };
    mounts.lines().filter_map(parse).collect()
}

/// The path of this process in the hierarchy of a controller (`""`: version 2), of the text of `/proc/self/cgroup`.
fn own_path<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|other| other == controller)
            .then_some(path)
    })
}

/// A directory of version 1 in which this process can make groups: the root of the mount. Limits of the group in which
/// this process runs do not hold there, as with Docker.
fn writable(point: &Path) -> Option<PathBuf> {
    let own = point.join(OWN);
    let is_there = own.is_dir();
    fs::create_dir_all(&own).ok()?;
    let probe = own.join(format!(".probe-{}", std::process::id()));
    let writable = fs::create_dir(&probe).is_ok();
    if writable {
        let _ = fs::remove_dir(&probe);
    } else if !is_there {
        let _ = fs::remove_dir(&own);
    }
    writable.then_some(own)
}

/// The directory of version 2 in which this process can make groups with all needed controllers.
fn unified(hierarchy: &Hierarchy, own: Option<&str>) -> Result<V2, String> {
    let available = files::read(&hierarchy.point, "cgroup.controllers").map_err(|error| error.to_string())?;
    let missing: Vec<&str> = V2_CONTROLLERS
        .into_iter()
        .filter(|name| !available.split_whitespace().any(|other| other == *name))
        .collect();
    if !missing.is_empty() {
        return Err(format!("cgroup v2 has no controller {}", missing.join(", ")));
    }
    // Root uses the root of the mount; others the subtree that was delegated to them: their own group's parent, since a
    // group with processes cannot have controllers below it.
    let own = own.and_then(|own| own.strip_prefix(hierarchy.root.trim_end_matches('/')));
    let own = own.unwrap_or_default().trim_start_matches('/');
    let parents = [hierarchy.point.clone(), hierarchy.point.join(own).join("..")];
    let mut reason = String::new();
    for parent in parents {
        match V2::prepare(&parent, &V2_CONTROLLERS) {
            Ok(v2) => return Ok(v2),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(format!(
        "cgroup v2 is not delegated ({reason}); run as root, or under systemd with `Delegate=yes`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      31 24 0:27 /docker/1 /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                      22 1 8:1 / / rw - ext4 /dev/vda rw\n";
    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn mounts_are_told_apart() {
        let found = hierarchies(V1);
        assert_eq!(found.len(), 2);
        assert!(found[0].controllers.iter().any(|name| name == "cpuacct"));
        assert_eq!(found[1].root, "/docker/1");
        let found = hierarchies(V2);
        assert_eq!(found[0].version, "cgroup2");
        assert_eq!(found[0].point, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn the_own_group_is_found_by_controller() {
        let own = "4:memory:/a\n3:cpu,cpuacct:/b\n0::/user.slice/session\n";
        assert_eq!(own_path(own, "memory"), Some("/a"));
        assert_eq!(own_path(own, "cpuacct"), Some("/b"));
        assert_eq!(own_path(own, ""), Some("/user.slice/session"));
        assert_eq!(own_path(own, "pids"), None);
    }
}
