//! The exec guard's way into containers.
//!
//! The program (see `driver-exec-guard`) lies in a volume of the engine's, one for each version of it, which every
//! container gets mounted read-only at `/.openagent`. So it works with a remote engine and a read-only root, costs
//! nothing a container, and nothing inside can change it. The volume is filled once an engine, through a container
//! that mounts it and is never started. It belongs to no owner: it is not listed, and not reaped.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{Mount, MountType, MountVolumeOptions};
use bytes::Bytes;
use driver_types::{ByteStream, DriverError, Operation, Result, Support};
use tokio::sync::OnceCell;

use crate::DRIVER_NAME;
use crate::engine::Engine;
use crate::error;
use crate::failure::Failure;
use crate::wire::{Created, Inspect};

/// Where the program is in a container.
pub(crate) const PATH: &str = "/.openagent/guard";
/// Where its volume is mounted. A caller's mount must not hide it.
pub(crate) const DIRECTORY: &str = "/.openagent";
/// The label of the volume, and of the container that fills it: the program's version.
const LABEL: &str = "openagent.guard";
/// A filling that takes longer has died; somebody else may take over.
const STALE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

struct Program {
    bytes: &'static [u8],
    /// Tells versions apart.
    id: &'static str,
    architecture: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/guard.rs"));

/// Whether the volume of this engine is filled.
#[derive(Debug, Default)]
pub(crate) struct GuardVolume(OnceCell<()>);

/// Whether exec works on an engine of this architecture (as `/info` writes it).
pub(crate) fn support(architecture: &str) -> Support {
    match usable(architecture) {
        Ok(_) => Support::native(),
        Err(reason) => Support::none(reason),
    }
}

fn usable(architecture: &str) -> Result<&'static Program, String> {
    let program = PROGRAM.as_ref().map_err(|reason| {
        format!(
            "this build has no exec guard ({reason}); install a static C library or the Rust target for musl, and build again"
        )
    })?;
    let normal = match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    if normal == program.architecture {
        return Ok(program);
    }
    Err(format!(
        "the engine runs on {normal} and the exec guard was built for {}; use a build of the driver for {normal}",
        program.architecture
    ))
}

/// Refuses an operation that needs the guard where it cannot be used.
pub(crate) async fn require(engine: &Engine, operation: Operation) -> Result<()> {
    let profile = engine.profile().await?;
    usable(&profile.info.architecture).map(drop).map_err(|reason| {
        DriverError::unsupported(operation.name(), DRIVER_NAME).with_context("reason", reason)
    })
}

/// The mount that a new container needs for exec; `None` where exec is not supported. The first call for an engine
/// fills the volume, by means of `image`, which the engine must have.
pub(crate) async fn mount(engine: &Arc<Engine>, architecture: &str, image: &str) -> Result<Option<Mount>> {
    let Ok(program) = usable(architecture) else {
        return Ok(None);
    };
    let image = image.to_owned();
    let fill = || async {
        // On its own, so that a dropped create leaves nothing half-made.
        let filling = tokio::spawn(fill(Arc::clone(engine), program, image));
        filling
            .await
            .map_err(|error| DriverError::internal(error.to_string()))?
    };
    engine.guard.0.get_or_try_init(fill).await?;
    Ok(Some(volume(program, true)))
}

fn volume(program: &Program, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(format!("openagent-guard-{}", program.id)),
        target: Some(DIRECTORY.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            // What an image has at the mount point must not get into the volume.
            no_copy: Some(true),
            labels: Some([(LABEL.to_owned(), program.id.to_owned())].into()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

async fn fill(engine: Arc<Engine>, program: &'static Program, image: String) -> Result<()> {
    let helper = create_helper(&engine, program, &image).await?;
    let filled = fill_through(&engine, program, &helper).await;
    let path = format!("/containers/{helper}");
    let removed = engine
        .client
        .delete(path)
        .query("force", true)
        .query("v", true)
        .unit()
        .await;
    match (filled, removed) {
        (Err(error), Err(cleanup)) => Err(error.with_cleanup(error::engine(cleanup))),
        (Err(error), Ok(())) => Err(error),
        (Ok(()), removed) => removed.map_err(error::engine),
    }
}

/// A container that mounts the volume. Its name is the lock of those who would fill it at the same time.
async fn create_helper(engine: &Engine, program: &Program, image: &str) -> Result<String> {
    let name = format!("openagent-guard-{}", program.id);
    let config = serde_json::json!({
        "Image": image,
        "Cmd": [PATH],
        "NetworkDisabled": true,
        "Labels": { LABEL: program.id },
        "HostConfig": { "Mounts": [volume(program, false)], "NetworkMode": "none" },
    });
    loop {
        let call = engine
            .client
            .post("/containers/create")
            .query("name", &name)
            .json(&config);
        match call.value::<Created>().await {
            Ok(created) => return Ok(created.id),
            Err(failure) if error::is_name_taken(&failure) => await_other(engine, &name).await?,
            Err(failure) => return Err(error::container(Operation::CreateContainer, &name, failure)),
        }
    }
}

/// Waits while another driver fills the volume. Removes what a dead one left.
async fn await_other(engine: &Engine, name: &str) -> Result<()> {
    let found: Inspect = match engine
        .client
        .get(format!("/containers/{name}/json"))
        .value()
        .await
    {
        Ok(found) => found,
        Err(Failure::Status { status: 404, .. }) => return Ok(()),
        Err(failure) => return Err(error::engine(failure)),
    };
    let age = crate::time::now_ms().saturating_sub(crate::time::parse_ms(&found.created).unwrap_or_default());
    if found.config.labels.contains_key(LABEL) && u128::from(age) > STALE.as_millis() {
        let path = format!("/containers/{}", found.id);
        // Somebody else may be quicker.
        let _ = engine
            .client
            .delete(path)
            .query("force", true)
            .query("v", true)
            .unit()
            .await;
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}

async fn fill_through(engine: &Engine, program: &Program, helper: &str) -> Result<()> {
    if content(engine, helper).await?.as_deref() == Some(program.bytes) {
        return Ok(());
    }
    let archive: ByteStream = Box::pin(futures_util::stream::iter([archive(program)]));
    engine
        .client
        .put(format!("/containers/{helper}/archive"))
        .query("path", DIRECTORY)
        .stream_body("application/x-tar", archive)
        .unit()
        .await
        .map_err(error::engine)
}

/// The program that the volume has already.
async fn content(engine: &Engine, helper: &str) -> Result<Option<Vec<u8>>> {
    let call = engine
        .client
        .get(format!("/containers/{helper}/archive"))
        .query("path", PATH);
    let archive = match call.bytes().await {
        Ok(archive) => archive,
        Err(Failure::Status { status: 404, .. }) => return Ok(None),
        Err(failure) => return Err(error::engine(failure)),
    };
    let mut archive = tar::Archive::new(archive.as_ref());
    let entry = archive
        .entries()
        .ok()
        .and_then(|mut entries| entries.next()?.ok());
    let mut bytes = Vec::new();
    let read = entry.and_then(|mut entry| entry.read_to_end(&mut bytes).ok());
    Ok(read.map(|_| bytes))
}

fn archive(program: &Program) -> Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o555);
    header.set_size(program.bytes.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "guard", program.bytes)
        .and_then(|()| archive.into_inner())
        .map(Bytes::from)
        .map_err(|error| DriverError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use driver_types::SupportLevel;

    use super::*;

    #[test]
    fn another_architecture_is_refused_with_the_way_out() {
        let support = support("riscv64");
        assert_eq!(support.level, SupportLevel::None);
        assert!(support.reason.unwrap().contains("build"));
    }

    #[test]
    fn the_mount_is_read_only_and_takes_nothing_from_the_image() {
        let program = PROGRAM.as_ref().unwrap();
        let mount = serde_json::to_value(volume(program, true)).unwrap();
        assert_eq!(mount["Type"], "volume");
        assert_eq!(mount["ReadOnly"], true);
        assert_eq!(mount["VolumeOptions"]["NoCopy"], true);
        assert_eq!(mount["Target"], "/.openagent");
    }

    #[test]
    fn the_program_is_a_static_executable() {
        let program = PROGRAM.as_ref().unwrap();
        assert_eq!(&program.bytes[..4], b"\x7fELF");
        // The program headers of a 64-bit ELF file, and the type of the one that names a dynamic loader.
        const INTERPRETER: u64 = 3;
        let number = |at: usize, size: usize| {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&program.bytes[at..at + size]);
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        assert!(count > 0);
        let asks = (0..count).any(|index| number(table + index * size, 4) as u64 == INTERPRETER);
        assert!(!asks, "it asks for a dynamic loader");
        assert!(program.bytes.len() < 2 << 20, "{} bytes", program.bytes.len());
    }
}
