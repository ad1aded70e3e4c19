//! Containers of a user without rights, in a user namespace.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Place, Shim, lacks_busybox, skipped, until};
use driver_local_shim::{
    ExecTarget, ExecTask, HoldTask, IdMap, Mount, MountSource, Process, RemoveTask, Report, Sandbox, Task,
    UserNamespace,
};
use rstest::rstest;

/// Who runs the shim: the caller, or for root `nobody`.
fn user() -> u32 {
    let own = nix::unistd::geteuid();
    if own.is_root() { 65534 } else { own.as_raw() }
}

fn group() -> u32 {
    let own = nix::unistd::getegid();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root { 65534 } else { own.as_raw() }
}

fn place() -> Place {
    let place = Place::new();
    own(place.temp.path());
    place
}

fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(user()), Some(group())).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path)
            .unwrap()
            .flatten()
            .for_each(|entry| own(&entry.path()));
    }
}

fn sandbox(place: &Place) -> Sandbox {
    let map = |outside| IdMap {
        inside: 0,
        outside,
        count: 1,
    };
    Sandbox {
        user: Some(UserNamespace {
            uids: vec![map(user())],
            gids: vec![map(group())],
            by_helpers: false,
        }),
        ..place.sandbox()
    }
}

fn spawn(task: Task) -> Shim {
    Shim::idle_as(user()).with(&task)
}

#[rstest]
fn a_run(#[values(true, false)] init: bool, #[values(true, false)] writable: bool) {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let script = "id -u; cat /proc/self/uid_map; grep -E '^CapEff' /proc/self/status; echo x > /dev/null; ls /dev/null /dev/zero; \
                  touch /data/file && echo written; touch /t/file && ls /t; hostname; exit 5";
    let mut task = place.script(script);
    task.init = init;
    task.sandbox = sandbox(&place);
    task.sandbox.root.writable = place.writable().filter(|_| writable);
    task.sandbox.mounts.push(Mount {
        target: "/t".to_owned(),
        source: MountSource::Tmpfs {
            bytes: 1 << 20,
            mode: 0o755,
        },
        read_only: false,
    });
    let mut shim = spawn(Task::Run(Box::new(task)));
    match shim.report() {
        Report::Started { .. } => {}
        other => panic!("{other:?}"),
    }
    let ended = place.end(shim);
    ended.code(5);
    let rest = ended
        .out
        .strip_prefix(&format!("0\n         0 {:10}          1\n", user()))
        .unwrap_or_else(|| panic!("{ended:?}"));
    let written = if writable { "written\n" } else { "" };
    assert_eq!(
        rest,
        format!("CapEff:\t0000000000000000\n/dev/null\n/dev/zero\n{written}file\ninside\n")
    );
    place.nothing_left();
}

#[test]
fn a_held_root() {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let mut sandbox = sandbox(&place);
    sandbox.root.writable = place.writable();
    let mut shim = spawn(Task::Hold(Box::new(HoldTask { sandbox })));
    assert!(matches!(shim.report(), Report::Holding { pid } if pid == shim.child.id() as i32));
    let root = format!("/proc/{}/root", shim.child.id());
    // As the driver would see it, who is not root either.
    let seen = std::process::Command::new("/bin/busybox")
        .args(["cat", &format!("{root}/etc/group")])
        .uid_and_gid(user())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&seen.stdout).lines().count(),
        3,
        "{seen:?}"
    );
    shim.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(shim.child.wait().unwrap().success());
}

/// What the users of containers have made, with directories that are closed to all others.
#[test]
fn files_of_mapped_ids_are_removed() {
    if skipped() {
        return;
    }
    let place = place();
    let tree = place.temp.path().join("tree");
    for (path, owner) in [("", user()), ("a", 100_999), ("a/b", 100_000), ("a/b/c", 100_999)] {
        let path = tree.join(path);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
    let remove = |count| {
        let map = |inside, outside, count| IdMap {
            inside,
            outside,
            count,
        };
        let ids = vec![map(0, user(), 1), map(1, 100_000, count)];
        let user = UserNamespace {
            uids: ids.clone(),
            gids: ids,
            by_helpers: false,
        };
        let mut shim = Shim::spawn(Task::Remove(Box::new(RemoveTask {
            user,
            directory: place.text(""),
            name: "tree".to_owned(),
        })));
        let report = shim.report();
        assert_eq!(shim.child.wait().unwrap().success(), report == Report::Ready);
        report
    };
    // The rights end with the ids: those of 100999 are not of this namespace.
    let refused = remove(10);
    assert!(matches!(refused, Report::Failed { .. }), "{refused:?}");
    assert!(tree.join("a/b/c/file").exists());
    assert_eq!(remove(1000), Report::Ready);
    assert!(!tree.exists());
}

trait As {
    fn uid_and_gid(&mut self, id: u32) -> &mut Self;
}

impl As for std::process::Command {
    fn uid_and_gid(&mut self, id: u32) -> &mut Self {
        use std::os::unix::process::CommandExt;
        if nix::unistd::geteuid().is_root() {
            self.uid(id).gid(id);
        }
        self
    }
}

#[rstest]
fn an_exec(#[values(true, false)] init: bool) {
    if lacks_busybox() {
        return;
    }
    let place = place();
    let mut task = place.script("echo ready; sleep 1000");
    task.sandbox = sandbox(&place);
    task.init = init;
    task.sandbox.mounts = ["/lib", "/lib64"]
        .map(|path| Mount {
            target: path.to_owned(),
            source: MountSource::Bind(path.to_owned()),
            read_only: true,
        })
        .to_vec();
    let process = task.process.clone();
    let mut shim = spawn(Task::Run(Box::new(task)));
    let Report::Started {
        init_pid,
        init_start_time,
    } = shim.report()
    else {
        panic!("it did not start");
    };
    until("the program", || place.log().0 == "ready\n");
    let mut exec = spawn(Task::Exec(Box::new(ExecTask {
        target: ExecTarget {
            init_pid,
            init_start_time,
            user_namespace: true,
            cgroups: Vec::new(),
        },
        process: Process {
            argv: ["/bin/hostname".to_owned()].to_vec(),
            ..process
        },
        guard_arguments: Vec::new(),
    })));
    assert_eq!(exec.report(), Report::Ready);
    let rest = String::from_utf8_lossy(&exec.rest()).into_owned();
    assert!(rest.contains("inside\n"), "{rest:?}");
    common::kill(init_pid, 9);
    place.end(shim).signal(9);
}
