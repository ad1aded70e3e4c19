//! What the driver can do on this engine: declared from what the engine says of itself.

use std::sync::Arc;

use driver_types::{Capabilities, Capability, Result, Support};

use crate::engine::Engine;
use crate::guard;
use crate::profile::Profile;

/// The capabilities. The first answer stays for the life of the driver.
pub(crate) async fn capabilities(engine: &Arc<Engine>) -> Result<Capabilities> {
    Ok(of(&*engine.profile().await?))
}

/// The capabilities on an engine of this profile.
pub(crate) fn of(profile: &Profile) -> Capabilities {
    let exec = guard::support(&profile.info.architecture);
    Capabilities::all()
        .with(Capability::Exec, exec.clone())
        .with(Capability::ExecStream, exec)
        .with(Capability::CpuLimit, profile.cpu())
        .with(Capability::MemoryLimit, profile.memory())
        .with(Capability::PidsLimit, profile.pids())
        .with(Capability::DiskLimit, profile.disk())
        .with(Capability::Seccomp, profile.seccomp())
        .with(Capability::Volumes, profile.volumes())
        .with(
            Capability::VolumeSize,
            Support::none("the engine's local volume driver does not limit a volume"),
        )
        .with(
            Capability::NetworkDefault,
            Support::emulated(
                "a bridge of the driver's; the engine has no filter for outbound traffic, so that the metadata \
                 address is closed only by a rule of the host (see preflight)",
            ),
        )
        .with(
            Capability::UpdateResources,
            Support::emulated("cpu, memory and pids; the engine cannot change the disk limit of a container"),
        )
        .with(
            Capability::DurableStopReason,
            Support::none("the engine does not keep who ended a container, nor can it be written there"),
        )
}
