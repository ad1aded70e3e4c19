//! Which way a limit is held, and loop images through a container's life, a reboot included.

#![allow(clippy::unwrap_used)]

use rstest::rstest;

use super::*;
use crate::layout::Layout;

fn disks(backend: DiskBackend, no_loops: Option<&str>) -> Disks {
    Disks {
        backend,
        no_loops: no_loops.map(str::to_owned),
    }
}

fn limits(disk: u64, memory: u64) -> ResourceLimits {
    ResourceLimits::default().disk(disk).memory(memory)
}

#[rstest]
#[case::small(DiskBackend::Auto, None, 16, 512, true)]
#[case::half_of_the_memory(DiskBackend::Auto, None, 256, 512, true)]
#[case::killed_for_its_memory_first(DiskBackend::Auto, None, 257, 514, false)]
#[case::little_memory(DiskBackend::Auto, None, 16, 31, false)]
#[case::no_loops(DiskBackend::Auto, Some("none"), 1024, 512, true)]
#[case::tmpfs(DiskBackend::Tmpfs, None, 1024, 512, true)]
#[case::image(DiskBackend::Loop, None, 16, 512, false)]
fn what_is_kept_in_memory(
    #[case] backend: DiskBackend,
    #[case] no_loops: Option<&str>,
    #[case] disk: u64,
    #[case] memory: u64,
    #[case] expected: bool,
) {
    assert_eq!(
        disks(backend, no_loops).in_memory(&limits(disk, memory)),
        expected
    );
}

#[test]
fn the_method_is_told() {
    let lacking = disks(DiskBackend::Auto, Some("no program `mkfs.ext4`"));
    assert!(lacking.support().is_supported());
    assert!(lacking.method().contains("tmpfs") && lacking.method().contains("mkfs.ext4"));
    assert!(disks(DiskBackend::Auto, None).method().contains("loop image"));
    assert!(
        !disks(DiskBackend::Loop, Some("no loop devices"))
            .support()
            .is_supported()
    );
}

/// The backing file of each loop device.
fn loops(below: &Path) -> usize {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|file| Path::new(file.trim()).starts_with(below))
        .count()
}

#[rstest]
#[case::tmpfs(DiskBackend::Tmpfs)]
#[case::image(DiskBackend::Loop)]
fn a_layer_is_full_at_its_limit_and_leaves_nothing(#[case] backend: DiskBackend) {
    let disks = Disks::probe(backend);
    if !rustix::process::geteuid().is_root() || disks.no_loops.is_some() {
        println!("skipped: needs root and loop images ({:?})", disks.no_loops);
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let layout = Layout::new(state.path());
    layout.prepare().unwrap();
    let dir = layout.container(&crate::id::random().unwrap());
    fs::create_dir(dir.path()).unwrap();
    disks.make(&dir, &limits(16, 512), &Capabilities::all()).unwrap();

    let file = dir.disk().join("upper/file");
    let full = fs::write(&file, vec![7; 24 << 20]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let written = fs::metadata(&file).unwrap().len();
    assert!(written > 12 << 20 && written <= 16 << 20, "{written}");
    assert!(used(&dir.disk()).unwrap() >= written);
    fs::write(&file, "kept").unwrap();

    if backend == DiskBackend::Loop {
        assert_eq!(loops(state.path()), 1);
        // What a reboot leaves: the file alone.
        umount2(&dir.disk(), MntFlags::empty()).unwrap();
        assert_eq!((loops(state.path()), file.exists()), (0, false));
        ready(&dir).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
    // A repeat is no second mount.
    ready(&dir).unwrap();
    unmount(&dir.disk()).unwrap();
    assert_eq!((loops(state.path()), used(&dir.disk())), (0, None));
    unmount(&dir.disk()).unwrap();
}
