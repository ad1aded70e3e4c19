//! Finding the cgroups that this process may use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cgroups, OWN, PREPARED, V1, V2, files};

/// How a group is called that only shows whether one can be made.
const PROBE: &str = ".probe-";
/// After so long whoever makes prepared groups has a process in them, or was killed.
const JOINED_BY: Duration = Duration::from_secs(60);
/// The controllers of version 1 that are used where they are mounted.
const V1_CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio"];
/// The controllers of version 2 without which it is of no use.
const V2_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Where processes go that are in the way of groups below theirs: what Docker in Docker and Podman call it.
const LEAF: &str = "init";

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

/// The systemd service that this process runs in, if its cgroup is named like one.
pub(super) fn service() -> Option<String> {
    service_of(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// By version 2, else by the hierarchy that systemd names its own. A service may have made groups below its own.
fn service_of(own: &str) -> Option<String> {
    let path = own_path(own, "").filter(|path| *path != "/");
    let path = path.or_else(|| own_path(own, "name=systemd"))?;
    let is_service = |name: &&str| name.ends_with(".service");
    path.rsplit('/').find(is_service).map(str::to_owned)
}

pub(super) fn detect() -> io::Result<Cgroups> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(choose(&hierarchies(&mounts), &own))
}

/// Version 2 where it has all that limits need; else version 1; else what version 2 has.
fn choose(hierarchies: &[Hierarchy], own: &str) -> Cgroups {
    let v2 = hierarchies
        .iter()
        .find(|hierarchy| hierarchy.version == "cgroup2");
    let available = v2.map(available).unwrap_or_default();
    let unified = || match v2 {
        None => Err("cgroup v2 is not mounted".to_owned()),
        Some(_) if available.is_empty() => {
            Err("cgroup v2 has none of the controllers cpu, memory and pids".to_owned())
        }
        Some(v2) => unified(v2, own_path(own, ""), &available),
    };
    let mut reasons = Vec::new();
    if available.len() == V2_CONTROLLERS.len() {
        match unified() {
            Ok(v2) => return Cgroups::V2(v2),
            Err(reason) => reasons.push(reason),
        }
    }
    let controllers = controllers(hierarchies);
    if V2_CONTROLLERS.iter().any(|name| controllers.contains_key(name)) {
        return Cgroups::V1(V1::new(controllers));
    }
    if reasons.is_empty() {
        match unified() {
            Ok(v2) => return Cgroups::V2(v2),
            Err(reason) => reasons.push(reason),
        }
    }
    reasons.push("no controller of version 1 can be written".to_owned());
    let reason = reasons.join("; ");
    Cgroups::None { reason }
}

/// The controllers of version 1 that can be used, with this driver's directory in each.
fn controllers(hierarchies: &[Hierarchy]) -> BTreeMap<&'static str, PathBuf> {
    let usable = |name: &'static str| {
        let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|other| other == name);
        let hierarchy = hierarchies.iter().find(has)?;
        Some((name, writable(&hierarchy.point)?))
    };
    V1_CONTROLLERS.into_iter().filter_map(usable).collect()
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
    // Of its own: several drivers may look at the same time.
    let probe = own.join(format!("{PROBE}{}", crate::id::random().ok()?));
    let writable = fs::create_dir(&probe).is_ok();
    if writable {
        remove_left(&own);
    } else if !is_there {
        let _ = fs::remove_dir(&own);
    }
    writable.then_some(own)
}

/// Removes the probe, and what killed processes have left: a group with processes stays. Another driver does not mind: its probe is needed no more once it
/// was made, and a process is in its prepared groups by now.
fn remove_left(own: &Path) {
    let is_old = |path: &Path| {
        let made = fs::metadata(path).and_then(|found| found.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > JOINED_BY))
    };
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with(PROBE) || (name.starts_with(PREPARED) && is_old(&path)) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// The controllers of version 2 that are of use and there.
fn available(hierarchy: &Hierarchy) -> Vec<&'static str> {
    let found = files::read(&hierarchy.point, "cgroup.controllers").unwrap_or_default();
    let is_there = |name: &&str| found.split_whitespace().any(|other| other == *name);
    V2_CONTROLLERS.into_iter().filter(is_there).collect()
}

/// The directory of version 2 in which this process can make groups with these controllers.
///
/// Root uses the root of the mount. Others use the group above their own: a group with processes cannot have controllers
/// below it (except the root of the host), so what was delegated to them has to have a leaf in which they run. Who is alone
/// in the delegated group itself makes that leaf and moves there.
///
/// In a container the root of the mount may be the group of all its processes. They are taken into a leaf.
fn unified(hierarchy: &Hierarchy, own: Option<&str>, controllers: &[&'static str]) -> Result<V2, String> {
    let own = own.and_then(|own| own.strip_prefix(hierarchy.root.trim_end_matches('/')));
    let own = own.unwrap_or_default().trim_matches('/');
    let above = own.rsplit_once('/').map_or("", |(above, _)| above);
    let root = &hierarchy.point;
    // The root of the host has no type. Not left to a refusal: controllers of threads are enabled beside processes, and
    // then nothing can be below.
    let is_in_the_way = own.is_empty() && root.join("cgroup.type").exists();
    let vacated = match is_in_the_way {
        true => files::vacate(root, LEAF),
        false => Ok(()),
    };
    let mut prepared = vacated.and_then(|()| V2::prepare(root, controllers));
    if prepared.is_err() && !above.is_empty() {
        prepared = V2::prepare(&root.join(above), controllers);
    }
    if prepared.is_err() && !own.is_empty() {
        let own = root.join(own);
        prepared = match make_room(&own, std::process::id()) {
            Ok(true) => V2::prepare(&own, controllers),
            Ok(false) => return Err(crowded(&own)),
            // What was refused first is what to tell.
            Err(_) => prepared,
        };
    }
    let prepared = prepared.inspect(|v2| remove_left(v2.own()));
    prepared.map_err(|error| {
        format!(
            "cgroup v2 is not delegated to this process ({error}); run as root (in a container: a privileged one), as a systemd \
             service with `Delegate=yes`, or by `systemd-run --user --scope -p Delegate=yes`"
        )
    })
}

/// Moves this process, if it is alone in its group, into a leaf of that. Whether it was alone; others are not for this driver
/// to move.
fn make_room(own: &Path, pid: u32) -> io::Result<bool> {
    let leaf = own.join(LEAF);
    let is_there = leaf.is_dir();
    // First, so that where nothing is delegated it is not about others.
    files::make(&leaf)?;
    let undo = || {
        if !is_there {
            let _ = fs::remove_dir(&leaf);
        }
    };
    let processes = files::read(own, "cgroup.procs")?;
    if processes.split_whitespace().any(|other| other != pid.to_string()) {
        undo();
        return Ok(false);
    }
    files::write(&leaf, "cgroup.procs", pid).inspect_err(|_| undo())?;
    Ok(true)
}

fn crowded(own: &Path) -> String {
    let own = own.display();
    format!(
        "other processes than this one are in {own}, which is delegated to it: a group with processes cannot have limits below \
         it; move them to a group below, such as {own}/{LEAF}, or start this process alone in a delegated group, by \
         `systemd-run --user --scope -p Delegate=yes`"
    )
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rstest::rstest;

    use super::*;

    const V1: &str = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      31 24 0:27 /docker/1 /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                      22 1 8:1 / / rw - ext4 /dev/vda rw\n";
    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn what_a_killed_process_left_of_looking_is_removed() {
        let point = tempfile::tempdir().expect("a directory");
        let own = point.path().join(OWN);
        fs::create_dir_all(own.join(format!("{PROBE}left"))).expect("a directory");
        for name in ["left", "new"] {
            fs::create_dir(own.join(format!("{PREPARED}{name}"))).expect("a directory");
        }
        let left = fs::File::open(own.join(format!("{PREPARED}left"))).expect("a directory");
        left.set_modified(SystemTime::now() - 2 * JOINED_BY)
            .expect("a time");
        fs::create_dir(own.join("container")).expect("a directory");
        assert_eq!(writable(point.path()), Some(own.clone()));
        let left = fs::read_dir(own).expect("a directory").flatten();
        let mut names: Vec<_> = left.map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["container", &format!("{PREPARED}new")]);
    }

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

    #[rstest]
    #[case("0::/system.slice/agent.service\n", Some("agent.service"))]
    #[case("0::/system.slice/agent.service/main\n", Some("agent.service"))]
    #[case(
        "4:memory:/\n1:name=systemd:/system.slice/agent.service\n0::/\n",
        Some("agent.service")
    )]
    #[case("0::/user.slice/user-1000.slice/session-3.scope\n", None)]
    #[case("0::/\n", None)]
    #[case("", None)]
    fn a_service_is_known_by_its_group(#[case] own: &str, #[case] expected: Option<&str>) {
        assert_eq!(service_of(own).as_deref(), expected);
    }

    fn hierarchy(version: &str, point: &Path, names: &str) -> Hierarchy {
        let of_mount = match version {
            "cgroup" => names,
            _ => "",
        };
        fs::write(point.join("cgroup.controllers"), names).expect("written");
        Hierarchy {
            version: version.to_owned(),
            root: "/".to_owned(),
            point: point.to_owned(),
            controllers: of_mount.split_whitespace().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn the_version_that_holds_limits_is_chosen() {
        let (one, two) = (
            tempfile::tempdir().expect("made"),
            tempfile::tempdir().expect("made"),
        );
        let all = "cpuset cpu io memory hugetlb pids";
        let v1 = || hierarchy("cgroup", one.path(), "memory");
        let v2 = |names| hierarchy("cgroup2", two.path(), names);
        let named = |hierarchies: &[Hierarchy]| choose(hierarchies, "0::/\n");
        assert_eq!(named(&[v1(), v2(all)]).name(), "cgroup v2");
        // The hybrid layout of systemd, and Debian on a Raspberry Pi.
        assert_eq!(named(&[v1(), v2("")]).name(), "cgroup v1");
        let partial = named(&[v2("cpu io pids")]);
        assert_eq!(partial.name(), "cgroup v2");
        assert!(partial.held().pids.is_supported() && !partial.held().memory.is_supported());
        let Cgroups::None { reason } = named(&[v2("")]) else {
            panic!("limits without controllers");
        };
        assert!(reason.contains("none of the controllers"), "{reason}");
        assert_eq!(named(&[]).name(), "no cgroups");
    }

    #[test]
    fn who_is_alone_in_a_group_makes_room() {
        let group = tempfile::tempdir().expect("made");
        let procs = group.path().join("cgroup.procs");
        fs::write(&procs, "7\n8\n").expect("written");
        assert!(
            !make_room(group.path(), 7).expect("looked"),
            "another process would be moved, or in the way"
        );
        assert!(!group.path().join(LEAF).exists());
        fs::write(&procs, "7\n").expect("written");
        assert!(make_room(group.path(), 7).expect("alone"));
        let moved = fs::read_to_string(group.path().join(LEAF).join("cgroup.procs"));
        assert_eq!(moved.expect("read"), "7");
    }

    /// A group with processes takes no controllers for those below; the one above it, which was delegated, does.
    #[test]
    fn who_may_not_use_the_root_uses_the_group_above_its_own() {
        let root = tempfile::tempdir().expect("made");
        let service = root.path().join("app.slice/agent.service");
        fs::create_dir_all(&service).expect("made");
        let v2 = hierarchy("cgroup2", root.path(), "cpu memory pids");
        // Cannot be written, whoever runs this.
        fs::create_dir(root.path().join("cgroup.subtree_control")).expect("made");
        let found = unified(&v2, Some("/app.slice/agent.service/main"), &V2_CONTROLLERS).expect("delegated");
        assert_eq!(found.directory("x"), service.join(OWN).join("x"));
        let refused = unified(&v2, Some("/main"), &V2_CONTROLLERS).expect_err("nothing is delegated");
        assert!(refused.contains("Delegate=yes"), "{refused}");
    }
}
