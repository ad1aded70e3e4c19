//! The root of a container: layers, devices, what is masked, volumes; and roots that mean harm.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{Place, skipped};
use driver_local_shim::{Mount, MountSource, Stage};
use rstest::rstest;

#[test]
fn a_read_only_root_stays_so() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script(
        "touch /data/x; mkdir /new; mount -o remount,rw /; mount | grep ' / '; touch /mnt/volume/x; echo $?",
    );
    // Missing mountpoints are made all the same.
    task.sandbox.mounts.push(tmpfs("/mnt/volume"));
    let ended = place.run(task);
    assert!(ended.out.contains("(ro,"), "{ended:?}");
    assert!(ended.out.ends_with("\n0\n"), "{ended:?}");
    assert_eq!(ended.err.matches("Read-only file system").count(), 2, "{ended:?}");
    assert!(!place.layer().join("mnt").exists(), "the layer was written to");
}

/// A read-only root has a layer for mountpoints only where some are missing.
#[rstest]
#[case::mountpoints_missing(false)]
#[case::mountpoints_there(true)]
fn several_layers_are_one_root(#[case] whole: bool) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let upper = place.temp.path().join("with:colon,and\\more");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::write(upper.join("etc/motd"), "of the upper layer\n").unwrap();
    if !whole {
        fs::remove_dir(place.mountpoints().join("sys")).unwrap();
    }
    let mut task = place.script("cat /etc/motd; ls /etc; mount | grep ' / ' | grep -c upperdir");
    let lower = &mut task.sandbox.root.lower;
    lower.insert(0, upper.to_str().unwrap().to_owned());
    // More than one string option of a file system could hold.
    for number in 0..40 {
        let layer = place.temp.path().join(format!("layer-{number}"));
        fs::create_dir(&layer).unwrap();
        lower.push(layer.to_str().unwrap().to_owned());
    }
    let made = u8::from(!whole);
    let expected = format!("of the upper layer\ngroup\nmotd\npasswd\n{made}\n");
    assert_eq!(place.run(task).out, expected);
}

#[test]
fn devices_are_the_harmless_ones() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let script = "ls /dev; stat -c '%n %F %a %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null; echo y > /dev/full; ls /dev/pts; \
                  df -k /dev/shm | tail -n 1; echo via-fd > /dev/fd/1";
    let mut task = place.script(script);
    task.sandbox.shm_bytes = 64 << 10;
    let ended = place.run(task);
    let names = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert!(ended.out.starts_with(names), "{ended:?}");
    for node in [
        "null character special file 666 1:3",
        "full character special file 666 1:7",
        "tty character special file 666 5:0",
    ] {
        assert!(ended.out.contains(node), "{node}: {ended:?}");
    }
    assert!(ended.out.contains("\n3\nptmx\n"), "{ended:?}");
    assert!(ended.out.contains("\ntmpfs "), "{ended:?}");
    assert!(ended.out.contains(" 64 "), "{ended:?}");
    assert!(ended.out.ends_with("via-fd\n"), "{ended:?}");
    assert!(ended.err.contains("No space left"), "{ended:?}");
}

#[test]
fn kernel_interfaces_are_masked_or_read_only() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let script = "for f in keys timer_list sched_debug latency_stats kcore interrupts; do \
                    [ -e /proc/$f ] && head -c 1 /proc/$f | wc -c; done; \
                  ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v ':$' | grep .; \
                  for f in sys/kernel/hostname sys/kernel/domainname; do echo h > /proc/$f; done; \
                  mkdir /sys/x; mount | grep -E ' /(sys|proc/sys|proc) '";
    let mut task = place.script(script);
    task.process.rights.capabilities = common::own_capabilities();
    let ended = place.run(task);
    let (before, mounts) = ended.out.split_once("proc on").unwrap();
    assert!(
        !before.is_empty() && before.lines().all(|line| line == "0"),
        "{ended:?}"
    );
    assert!(
        mounts.contains("sysfs on /sys type sysfs (ro,nosuid,nodev,noexec"),
        "{ended:?}"
    );
    assert!(mounts.contains("proc on /proc/sys type proc (ro,"), "{ended:?}");
    assert_eq!(ended.err.matches("Read-only file system").count(), 3, "{ended:?}");
}

#[test]
fn volumes_tmpfs_and_files() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let volume = place.temp.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("old"), "old\n").unwrap();
    let hosts = place.temp.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let script = "cat /etc/hosts /vol/old; echo new > /vol/new; echo x > /ro/x; stat -c %a /t; mount | grep -E ' /(vol|ro|t) '; \
                  mknod /vol/device c 1 3; cat /vol/device";
    let mut task = place.script(script);
    task.process.rights.capabilities = common::own_capabilities();
    task.sandbox.mounts = vec![
        bind(volume.to_str().unwrap(), "/vol", false),
        bind(volume.to_str().unwrap(), "/ro", true),
        bind(hosts.to_str().unwrap(), "/etc/hosts", true),
        Mount {
            target: "/t".to_owned(),
            source: MountSource::Tmpfs {
                bytes: 1 << 20,
                mode: 0o1777,
            },
            read_only: false,
        },
    ];
    let ended = place.run(task);
    assert!(
        ended.out.starts_with("127.0.0.1 localhost\nold\n1777\n"),
        "{ended:?}"
    );
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    assert!(ended.err.contains("/ro/x: Read-only file system"), "{ended:?}");
    assert!(ended.err.contains("/vol/device': Permission denied"), "{ended:?}");
    assert_eq!(ended.out.matches("nosuid,nodev").count(), 3, "{ended:?}");
    place.nothing_left();
}

/// A symbolic link in the image in the place of a mountpoint: nothing is mounted or made where it leads.
#[rstest]
#[case("proc", "/")]
#[case("proc", "data")]
#[case("sys", "../..")]
#[case("dev", "CANARY")]
#[case("vol", "CANARY")]
#[case("vol", "/proc")]
#[case("vol/deep", "CANARY")]
fn a_link_in_the_place_of_a_mountpoint(
    #[case] name: &str,
    #[case] target: &str,
    #[values(true, false)] writable: bool,
) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let canary = place.temp.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "of the host\n").unwrap();
    let link = place.layer().join(name.split('/').next().unwrap());
    let target = if target == "CANARY" {
        canary.to_str().unwrap()
    } else {
        target
    };
    symlink(target, link).unwrap();
    let mut task = place.script("true");
    task.sandbox.root.writable = place.writable().filter(|_| writable);
    if name.starts_with("vol") {
        task.sandbox.mounts.push(tmpfs(&format!("/{name}")));
    }
    let (stage, _, message) = place.fails(task);
    assert_eq!(stage, Stage::Root);
    assert!(message.contains("symbolic link"), "{message}");
    let found: Vec<_> = fs::read_dir(&canary)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(found, ["file"]);
}

#[rstest]
#[case("/proc")]
#[case("/proc/sys/kernel")]
#[case("/sys")]
#[case("/sys/fs/cgroup")]
#[case("/")]
#[case("/data/..")]
fn a_volume_that_would_cover_what_matters(#[case] target: &str) {
    if skipped() {
        return;
    }
    let place = Place::new();
    let mut task = place.script("true");
    task.sandbox.mounts.push(tmpfs(target));
    let (stage, _, message) = place.fails(task);
    assert_eq!(stage, Stage::Root);
    assert!(message.contains(target), "{message}");
}

/// The image's own /dev is covered before anything is made in it.
#[test]
fn an_image_with_devices_of_its_own() {
    if skipped() {
        return;
    }
    let place = Place::new();
    let dev = place.layer().join("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/etc/passwd", dev.join("null")).unwrap();
    symlink("/data", dev.join("shm")).unwrap();
    let mut task = place.script("echo overwritten > /dev/null; cat /etc/passwd | wc -l; stat -c %F /dev/null; touch /dev/shm/x; ls /data");
    task.sandbox.root.writable = place.writable();
    let ended = place.run(task);
    assert_eq!(ended.out, "2\ncharacter special file\n");
    assert!(
        place
            .temp
            .path()
            .join("disk/upper")
            .read_dir()
            .unwrap()
            .all(|entry| entry.unwrap().file_name() != "null")
    );
}

fn tmpfs(target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Tmpfs {
            bytes: 1 << 20,
            mode: 0o755,
        },
        read_only: false,
    }
}

fn bind(source: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Bind(source.to_owned()),
        read_only,
    }
}
