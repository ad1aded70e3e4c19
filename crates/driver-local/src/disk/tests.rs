//! Which way a limit is held, and loop images through a container's life, a reboot included.

#![allow(clippy::unwrap_used)]

use driver_types::Enforcement;
use rstest::rstest;

use super::*;
use crate::layout::Layout;
use crate::spec::ImageSpec;

fn disks(backend: DiskBackend, no_loops: Option<&str>) -> Disks {
    Disks {
        backend,
        no_quotas: Some(Lack {
            reason: "none".to_owned(),
            remedy: "mount".to_owned(),
        }),
        no_loops: no_loops.map(str::to_owned),
    }
}

fn limits(disk: u64, memory: u64) -> ResourceLimits {
    ResourceLimits::default().disk(disk).memory(memory)
}

#[rstest]
#[case::small(DiskBackend::Auto, None, 16, 512, Way::Memory)]
#[case::half_of_the_memory(DiskBackend::Auto, None, 256, 512, Way::Memory)]
#[case::killed_for_its_memory_first(DiskBackend::Auto, None, 257, 514, Way::Image)]
#[case::little_memory(DiskBackend::Auto, None, 16, 31, Way::Image)]
#[case::no_loops(DiskBackend::Auto, Some("none"), 1024, 512, Way::Memory)]
#[case::tmpfs(DiskBackend::Tmpfs, None, 1024, 512, Way::Memory)]
#[case::image(DiskBackend::Loop, None, 16, 512, Way::Image)]
fn without_quotas(
    #[case] backend: DiskBackend,
    #[case] no_loops: Option<&str>,
    #[case] disk: u64,
    #[case] memory: u64,
    #[case] expected: Way,
) {
    let security = SecurityOptions::default();
    let way = disks(backend, no_loops).way(&security, &limits(disk, memory));
    assert_eq!(way, expected);
}

#[rstest]
#[case::auto(DiskBackend::Auto, SecurityOptions::default(), Way::Quota)]
#[case::quota(DiskBackend::Quota, SecurityOptions::default(), Way::Quota)]
#[case::tmpfs(DiskBackend::Tmpfs, SecurityOptions::default(), Way::Memory)]
#[case::image(DiskBackend::Loop, SecurityOptions::default(), Way::Image)]
#[case::harmless(DiskBackend::Auto, SecurityOptions::default().add_capability("NET_RAW"), Way::Quota)]
#[case::ignores_quotas(DiskBackend::Auto, SecurityOptions::default().add_capability("SYS_RESOURCE"), Way::Image)]
#[case::sets_quotas(DiskBackend::Quota, SecurityOptions::default().add_capability("CAP_SYS_ADMIN"), Way::Image)]
#[case::changes_projects(
    DiskBackend::Auto,
    SecurityOptions::default().seccomp(SeccompProfile::Unconfined),
    Way::Image
)]
fn with_quotas(#[case] backend: DiskBackend, #[case] security: SecurityOptions, #[case] expected: Way) {
    let disks = Disks {
        no_quotas: None,
        ..disks(backend, None)
    };
    assert_eq!(disks.way(&security, &limits(1024, 512)), expected);
    assert!(disks.support().is_supported());
}

#[test]
fn the_method_is_told() {
    let lacking = disks(DiskBackend::Auto, Some("no program `mkfs.ext4`"));
    assert!(lacking.support().is_supported());
    assert!(lacking.method().contains("tmpfs") && lacking.method().contains("mkfs.ext4"));
    assert!(disks(DiskBackend::Auto, None).method().contains("loop image"));
    for lacking in [
        disks(DiskBackend::Loop, Some("no loop devices")),
        disks(DiskBackend::Quota, None),
    ] {
        assert!(!lacking.support().is_supported());
    }
}

/// The backing file of each loop device.
fn loops(below: &Path) -> usize {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|file| Path::new(file.trim()).starts_with(below))
        .count()
}

fn spec(id: &str) -> Spec {
    let config = ContainerConfig::new("session", "host").resources(limits(16, 512));
    Spec {
        id: id.to_owned(),
        name: "name".to_owned(),
        owner: "owner".to_owned(),
        enforcement: Enforcement {
            cpu: Support::native(),
            memory: Support::native(),
            disk: Support::native(),
            pids: Support::native(),
        },
        config,
        image: ImageSpec::default(),
        created_at: 0,
        created_nanos: 0,
    }
}

#[rstest]
#[case::tmpfs(DiskBackend::Tmpfs)]
#[case::image(DiskBackend::Loop)]
fn a_layer_is_full_at_its_limit_and_leaves_nothing(#[case] backend: DiskBackend) {
    let state = tempfile::tempdir().unwrap();
    let layout = Layout::new(state.path());
    layout.prepare().unwrap();
    let shim = Shim::load().unwrap();
    let disks = Disks::probe(backend, &shim, &layout);
    if !rustix::process::geteuid().is_root() || disks.no_loops.is_some() {
        println!("skipped: needs root and loop images ({:?})", disks.no_loops);
        return;
    }
    let spec = spec(&crate::id::random().unwrap());
    let dir = layout.container(&spec.id);
    fs::create_dir(dir.path()).unwrap();
    disks
        .make(&layout, &dir, &spec, &Capabilities::all(), &shim)
        .unwrap();

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
    end(&dir.disk(), &shim).unwrap();
    assert_eq!((loops(state.path()), used(&dir.disk())), (0, None));
    end(&dir.disk(), &shim).unwrap();
}

/// Made once for a size, used by all, and bounded in number; what a maker that died has left goes too.
#[test]
fn an_image_is_a_copy_of_a_template() {
    if let Err(lack) = loop_image::probe() {
        println!("skipped: {lack}");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let templates = state.path().join("templates");
    fs::create_dir(&templates).unwrap();
    let image = |name: &str| state.path().join(name);
    let make = |name: &str, mib| loop_image::make(&image(name), mib * ResourceLimits::MIB, &templates);
    make("first", 16).unwrap();
    make("second", 16).unwrap();
    let (first, second) = (
        fs::read(image("first")).unwrap(),
        fs::read(image("second")).unwrap(),
    );
    assert!(first == second && first.len() == 16 << 20);
    loop_image::check(&image("second")).unwrap();
    assert_eq!(fs::read_dir(&templates).unwrap().count(), 1);
    make("second", 16).expect_err("it is there");

    fs::write(templates.join(".new-left"), "").unwrap();
    for mib in 20..40 {
        make(&mib.to_string(), mib).unwrap();
    }
    let kept = fs::read_dir(&templates).unwrap().count();
    assert!(kept <= 16 && !templates.join(".new-left").exists(), "{kept}");
}
