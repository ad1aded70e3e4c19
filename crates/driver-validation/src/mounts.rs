//! Rules for volumes and tmpfs mounts of a container.

use std::collections::HashMap;

use driver_types::{ContainerConfig, MountType, VolumeMount};

use crate::report::{At, Report, Show};
use crate::text::{name, normal_path, range};

const MAX_TMPFS_MIB: u64 = 1_048_576;
/// What the driver itself mounts; nothing may go there or below.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

pub(crate) fn mounts(report: &mut Report, config: &ContainerConfig) {
    for (index, volume) in config.volumes.iter().enumerate() {
        source(report, format_args!("/volumes/{index}"), volume);
        target(report, format_args!("/volumes/{index}/target"), &volume.target);
    }
    let tmpfs = config.tmpfs.as_deref().unwrap_or_default();
    for (index, mount) in tmpfs.iter().enumerate() {
        target(report, format_args!("/tmpfs/{index}/target"), &mount.target);
        range(
            report,
            format_args!("/tmpfs/{index}/sizeMib"),
            mount.size_mib,
            1,
            MAX_TMPFS_MIB,
            "MiB",
        );
    }
    duplicates(report, config);
}

fn source(report: &mut Report, at: At<'_>, volume: &VolumeMount) {
    let source_at = format_args!("{at}/source");
    let is_path = volume.source.starts_with('/');
    match volume.mount_type {
        _ if volume.source.is_empty() => {
            report.add(
                source_at,
                "must not be empty",
                "use an absolute path of the host or the name of a volume",
            );
        }
        Some(MountType::Bind) if !is_path => {
            let message = format!(
                "{} is not an absolute path, as a bind needs",
                Show(&volume.source)
            );
            report.add(source_at, message, "begin it with /, or set the type to volume");
        }
        Some(MountType::Volume) if is_path => {
            let message = format!("{} is a path, not the name of a volume", Show(&volume.source));
            report.add(
                source_at,
                message,
                "use the name of a volume, or set the type to bind",
            );
        }
        _ if is_path => {
            normal_path(report, source_at, &volume.source);
        }
        _ => name(report, source_at, &volume.source, 2),
    }
}

fn target(report: &mut Report, at: At<'_>, target: &str) {
    if !normal_path(report, at, target) {
        return;
    }
    let is_reserved = target == "/"
        || RESERVED.iter().any(|reserved| {
            target
                .strip_prefix(reserved)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    if is_reserved {
        let message = format!("{} is the container's own", Show(target));
        report.add(
            at,
            message,
            "choose a target that is not /, and not at or below /proc, /sys or /dev",
        );
    }
}

/// No two mounts at one target.
fn duplicates(report: &mut Report, config: &ContainerConfig) {
    let volumes = config
        .volumes
        .iter()
        .enumerate()
        .map(|(index, volume)| ("volumes", index, &volume.target));
    let tmpfs = config
        .tmpfs
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, mount)| ("tmpfs", index, &mount.target));
    if config.volumes.len() + config.tmpfs.as_ref().map_or(0, Vec::len) < 2 {
        return;
    }
    let mut seen = HashMap::new();
    for (field, index, target) in volumes.chain(tmpfs) {
        let target = target.as_str();
        if let Some((first_field, first_index)) = seen.insert(target, (field, index)) {
            let message = format!(
                "{} is the target of /{first_field}/{first_index} as well",
                Show(target)
            );
            report.add(
                format_args!("/{field}/{index}/target"),
                message,
                "mount each target once",
            );
        }
    }
}
