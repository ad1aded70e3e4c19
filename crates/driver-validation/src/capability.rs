//! Which field needs which capability: one table for refusals and for plans.

use std::sync::LazyLock;

use driver_errors::{DriverError, Result, Violation};
use driver_types::{
    Capabilities, Capability, ContainerConfig, ExecSpec, MountType, NetworkConfig, PlanItem, PortProtocol,
    PullPolicy, ResourceLimits, SeccompProfile, SecurityOptions, VolumeConfig,
};

use crate::ValidatedConfig;
use crate::report::At;

/// A field of an input that needs something of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The field, as a JSON pointer.
    pub pointer: String,
    /// What it needs.
    pub capability: Capability,
    /// Whether the field has its default value. Then a driver without the capability does not refuse it.
    pub is_default: bool,
}

/// What a config needs of a driver, field by field.
pub fn requirements(config: &ValidatedConfig) -> Vec<Requirement> {
    let mut rows = Vec::new();
    let mut table = Table(|pointer: At<'_>, capability, is_default| {
        rows.push(Requirement {
            pointer: pointer.to_string(),
            capability,
            is_default,
        });
    });
    table.config(config);
    rows
}

/// Checks that a driver can do all that a config asks for.
///
/// # Errors
///
/// `CONFIGURATION_ERROR` that names each field whose capability is missing, unless the field has its default value
/// (contract section 5).
pub fn check_capabilities(config: &ValidatedConfig, capabilities: &Capabilities) -> Result<()> {
    refuse_missing(capabilities, |refuse| Table(refuse).config(config))
}

/// The same for a volume: `sizeMib`.
///
/// # Errors
///
/// As of [`check_capabilities`].
pub fn check_volume_capabilities(config: &VolumeConfig, capabilities: &Capabilities) -> Result<()> {
    refuse_missing(capabilities, |refuse| {
        Table(refuse).needs_if(
            config.size_mib.is_some(),
            format_args!("/sizeMib"),
            Capability::VolumeSize,
        );
    })
}

/// The same for a network: `subnet`.
///
/// # Errors
///
/// As of [`check_capabilities`].
pub fn check_network_capabilities(config: &NetworkConfig, capabilities: &Capabilities) -> Result<()> {
    refuse_missing(capabilities, |refuse| {
        Table(refuse).needs_if(
            config.subnet.is_some(),
            format_args!("/subnet"),
            Capability::NetworkSubnet,
        );
    })
}

/// The same for a process: `tty`.
///
/// # Errors
///
/// As of [`check_capabilities`].
pub fn check_exec_capabilities(spec: &ExecSpec, capabilities: &Capabilities) -> Result<()> {
    refuse_missing(capabilities, |refuse| {
        Table(refuse).needs_if(spec.tty, format_args!("/tty"), Capability::Tty);
    })
}

/// What a driver would do with each field that needs something of it. `none` means that `create_container` refuses
/// the field; a default value that the driver cannot honour is not refused, and not listed.
pub fn plan_items(config: &ValidatedConfig, capabilities: &Capabilities) -> Vec<PlanItem> {
    requirements(config)
        .into_iter()
        .filter(|requirement| !requirement.is_default || capabilities.supports(requirement.capability))
        .map(|requirement| {
            let support = capabilities.get(requirement.capability);
            PlanItem {
                pointer: requirement.pointer,
                support: support.level,
                reason: support.reason,
            }
        })
        .collect()
}

fn refuse_missing(
    capabilities: &Capabilities,
    look: impl FnOnce(&mut dyn FnMut(At<'_>, Capability, bool)),
) -> Result<()> {
    let mut violations = Vec::new();
    look(&mut |pointer, capability, is_default| {
        if is_default || capabilities.supports(capability) {
            return;
        }
        let reason = capabilities.get(capability).reason;
        let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let message = format!("needs the capability `{capability}`, which the driver lacks{because}");
        let violation = Violation::new(pointer.to_string(), message);
        violations.push(violation.with_hint("leave the field out, or use a driver that has it"));
    });
    if violations.is_empty() {
        Ok(())
    } else {
        Err(DriverError::violations(violations))
    }
}

/// Hands each row on; the pointer is formatted only where somebody wants it.
struct Table<F>(F);

impl<F: FnMut(At<'_>, Capability, bool)> Table<F> {
    fn needs(&mut self, pointer: At<'_>, capability: Capability, is_default: bool) {
        (self.0)(pointer, capability, is_default);
    }

    fn config(&mut self, config: &ContainerConfig) {
        self.resources(config);
        self.mounts(config);
        self.network(config);
        self.security(&config.security);
        self.process(config);
    }

    fn needs_if(&mut self, is_set: bool, pointer: At<'_>, capability: Capability) {
        if is_set {
            self.needs(pointer, capability, false);
        }
    }

    fn resources(&mut self, config: &ContainerConfig) {
        let (limits, default) = (&config.resources, ResourceLimits::default());
        self.needs(
            format_args!("/resources/cpu"),
            Capability::CpuLimit,
            limits.cpu == default.cpu,
        );
        self.needs(
            format_args!("/resources/memory"),
            Capability::MemoryLimit,
            limits.memory == default.memory,
        );
        // A read-only root writes nothing: there the limit holds by itself.
        if !config.security.read_only {
            self.needs(
                format_args!("/resources/disk"),
                Capability::DiskLimit,
                limits.disk == default.disk,
            );
        }
        self.needs(
            format_args!("/resources/pids"),
            Capability::PidsLimit,
            limits.pids == default.pids,
        );
    }

    fn mounts(&mut self, config: &ContainerConfig) {
        for (index, volume) in config.volumes.iter().enumerate() {
            let capability = match volume.effective_type() {
                MountType::Bind => Capability::BindMounts,
                MountType::Volume => Capability::Volumes,
            };
            self.needs(format_args!("/volumes/{index}"), capability, false);
        }
        if !config.effective_tmpfs().is_empty() {
            self.needs(format_args!("/tmpfs"), Capability::Tmpfs, config.tmpfs.is_none());
        }
    }

    fn network(&mut self, config: &ContainerConfig) {
        match config.network.as_str() {
            ContainerConfig::NETWORK_NONE => {}
            ContainerConfig::NETWORK_HOST => {
                self.needs(format_args!("/network"), Capability::NetworkHost, false)
            }
            ContainerConfig::NETWORK_DEFAULT => {
                self.needs(format_args!("/network"), Capability::NetworkDefault, false)
            }
            _ => self.needs(format_args!("/network"), Capability::Networks, false),
        }
        for (index, port) in config.ports.iter().enumerate() {
            let capability = match port.effective_protocol() {
                PortProtocol::Tcp => Capability::PortsTcp,
                PortProtocol::Udp => Capability::PortsUdp,
            };
            self.needs(format_args!("/ports/{index}"), capability, false);
        }
        self.needs_if(
            config.hostname.is_some(),
            format_args!("/hostname"),
            Capability::Hostname,
        );
        self.needs_if(!config.dns.is_empty(), format_args!("/dns"), Capability::Dns);
        self.needs_if(
            !config.extra_hosts.is_empty(),
            format_args!("/extraHosts"),
            Capability::ExtraHosts,
        );
    }

    fn security(&mut self, options: &SecurityOptions) {
        static DEFAULT: LazyLock<SecurityOptions> = LazyLock::new(SecurityOptions::default);
        if options.read_only {
            self.needs(format_args!("/security/readOnly"), Capability::ReadOnlyRoot, true);
        }
        if options.no_new_privileges {
            self.needs(
                format_args!("/security/noNewPrivileges"),
                Capability::NoNewPrivileges,
                true,
            );
        }
        self.needs(
            format_args!("/security/user"),
            Capability::User,
            options.user == DEFAULT.user,
        );
        let is_default = options.capabilities == DEFAULT.capabilities;
        self.needs(
            format_args!("/security/capabilities"),
            Capability::LinuxCapabilities,
            is_default,
        );
        if options.seccomp == SeccompProfile::Default {
            self.needs(format_args!("/security/seccomp"), Capability::Seccomp, true);
        }
    }

    fn process(&mut self, config: &ContainerConfig) {
        if config.init {
            self.needs(format_args!("/init"), Capability::Init, true);
        }
        self.needs_if(
            config.healthcheck.is_some(),
            format_args!("/healthcheck"),
            Capability::HealthCheck,
        );
        self.needs_if(config.stdin, format_args!("/stdin"), Capability::Attach);
        self.needs_if(config.tty, format_args!("/tty"), Capability::Tty);
        match config.pull_policy {
            PullPolicy::Never => {}
            PullPolicy::Missing => self.needs(format_args!("/pullPolicy"), Capability::PullImage, true),
            PullPolicy::Always => self.needs(format_args!("/pullPolicy"), Capability::PullImage, false),
        }
    }
}
