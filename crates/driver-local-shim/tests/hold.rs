//! Holding the root of a container that does not run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Place, Shim, skipped};
use driver_local_shim::{HoldTask, Mount, MountSource, Report, Sandbox, Stage, Task};

fn hold(sandbox: Sandbox) -> Shim {
    Shim::spawn(Task::Hold(Box::new(HoldTask { sandbox })))
}

fn root_of(shim: &Shim) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", shim.child.id()))
}

#[test]
fn the_root_of_the_process_is_the_containers() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let volume = place.temp.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let mut sandbox = place.sandbox();
    sandbox.root.writable = place.writable();
    sandbox.mounts.push(Mount {
        target: "/vol/deep".to_owned(),
        source: MountSource::Bind(volume.to_str().unwrap().to_owned()),
        read_only: false,
    });
    let mut shim = hold(sandbox);
    assert!(matches!(shim.report(), Report::Holding { pid } if pid == shim.child.id() as i32));
    let root = root_of(&shim);
    fs::write(root.join("vol/deep/in-volume"), "v").unwrap();
    fs::write(root.join("data/in-layer"), "l").unwrap();
    for empty in ["proc", "sys", "dev"] {
        assert_eq!(fs::read_dir(root.join(empty)).unwrap().count(), 0);
        assert!(fs::write(root.join(empty).join("x"), "").is_err());
    }
    assert!(
        !root.join(place.temp.path().strip_prefix("/").unwrap()).exists(),
        "the host's tree can be seen"
    );
    shim.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(shim.child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(volume.join("in-volume")).unwrap(), "v");
    // A run that follows sees it, and uses the same writable layer.
    let mut task = place.script("cat /data/in-layer");
    task.sandbox.root.writable = place.writable();
    assert_eq!(place.run(task).out, "l");
    place.nothing_left();
}

#[test]
fn a_read_only_root_stays_so() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut shim = hold(place.sandbox());
    assert!(matches!(shim.report(), Report::Holding { pid } if pid == shim.child.id() as i32));
    let error = fs::write(root_of(&shim).join("data/x"), "").expect_err("it is read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(
        fs::read_to_string(root_of(&shim).join("etc/passwd"))
            .unwrap()
            .lines()
            .count(),
        2
    );
    shim.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(shim.child.wait().unwrap().success());
}

#[test]
fn a_root_that_cannot_be_made() {
    if skipped() {
        return;
    }
    let place = Place::new();
    symlink("/", place.layer().join("proc")).unwrap();
    let mut shim = hold(place.sandbox());
    assert!(matches!(
        shim.report(),
        Report::Failed {
            stage: Stage::Root,
            ..
        }
    ));
    assert!(!shim.child.wait().unwrap().success());
    let mut sandbox = place.sandbox();
    sandbox.root.lower = vec!["/no/such/layer".to_owned()];
    let mut shim = hold(sandbox);
    match shim.report() {
        Report::Failed {
            stage,
            errno,
            message,
            ..
        } => {
            assert_eq!((stage, errno), (Stage::Root, Some(nix::libc::ENOENT)));
            assert!(message.starts_with("/no/such/layer: "), "{message}");
        }
        other => panic!("{other:?}"),
    }
    shim.child.wait().unwrap();
    assert!(!Path::new(&place.directory()).join("shim.lock").exists());
}
