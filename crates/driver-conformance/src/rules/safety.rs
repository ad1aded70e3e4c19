//! Sections 4 to 7 of the contract.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "4.wire",
        "An error serialises to {code, message, retryable, operation?, details?}.",
    ),
    rule(
        "4.parts",
        "An error has kind, operation, driver, retryable, context, source, and the clean-up error when cleaning up failed too.",
    ),
    rule(
        "4.message",
        "Each code has a fixed message form; integral numbers print without a decimal point.",
    ),
    rule(
        "4.retry",
        "Each code has a retry flag; permanent causes are not retryable.",
    ),
    rule(
        "4.notFound",
        "ContainerNotFound, VolumeNotFound, NetworkNotFound and ImageNotFound carry the id or reference.",
    ),
    rule("4.noSecrets", "Values of env never appear in a message."),
    rule("5.declared", "Declared means it works."),
    rule(
        "5.undeclared",
        "Not declared means a typed Unsupported refusal with no side effect.",
    ),
    rule(
        "5.config",
        "A config field whose capability is missing makes create fail with ConfigurationError naming the field, unless the field has its default value.",
    ),
    rule("5.reason", "Every capability that is not native has a reason."),
    rule(
        "6.memory",
        "A process that exceeds the memory limit is stopped by the kernel.",
    ),
    rule(
        "6.oom",
        "Exit reason oom is told apart from a plain SIGKILL, read before the evidence is deleted.",
    ),
    rule("6.swap", "Swap is pinned to none."),
    rule(
        "6.pids",
        "A process that exceeds the pids limit is stopped by the kernel.",
    ),
    rule(
        "6.cpu",
        "Measured over 2 s, cpu usage stays within 15 % above the limit.",
    ),
    rule(
        "6.disk",
        "disk: native where the engine can, otherwise trivially native while the root is read-only, otherwise emulated or none; enforcement says which.",
    ),
    rule(
        "7.namespaces",
        "New pid, mount, uts, ipc, net and cgroup namespaces (net shared only for `host`).",
    ),
    rule("7.seccomp", "Default seccomp profile."),
    rule("7.capabilities", "Capabilities are dropped."),
    rule("7.noNewPrivs", "no_new_privs is set."),
    rule("7.masked", "OCI masked and read-only paths."),
    rule("7.proc", "/proc of its own."),
    rule("7.fds", "No inherited file descriptors beyond stdio."),
    rule("7.env", "No environment of the host."),
    rule(
        "7.metadata",
        "The cloud metadata address is not reachable from `default`.",
    ),
    rule(
        "7.host",
        "Container processes cannot signal, trace or see the host's.",
    ),
    rule(
        "7.escape",
        "A hostile image, archive, name or workload neither reads, changes nor stops anything outside of its container.",
    ),
];
