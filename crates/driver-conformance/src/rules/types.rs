//! Sections 1 and 2 of the contract.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule("1.wire", "The wire form is JSON with camelCase names."),
    rule(
        "1.config.sessionId",
        "sessionId: required; 1 to 128 of A-Z a-z 0-9 . _ -, starts with a letter or digit.",
    ),
    rule(
        "1.config.image",
        "image: required; an OCI image reference, or a name that the driver reserves.",
    ),
    rule(
        "1.config.name",
        "name: 2 to 128 characters of the same alphabet; unique per driver; else chosen by the driver.",
    ),
    rule("1.config.requestId", "requestId: idempotency key, see create."),
    rule(
        "1.config.argv",
        "entrypoint, command: argv lists, never a shell string; no NUL byte; default: the image's; an entrypoint alone leaves the image's command out.",
    ),
    rule(
        "1.config.workingDir",
        "workingDir: absolute; default: the image's.",
    ),
    rule(
        "1.config.env",
        "env: names match [A-Za-z_][A-Za-z0-9_]*; no NUL byte; 1 MiB in total.",
    ),
    rule(
        "1.config.labels",
        "labels: keys up to 256 bytes, values up to 4 KiB.",
    ),
    rule(
        "1.config.labels.reserved",
        "The label prefix `openagent.` is the drivers' own and is refused from callers.",
    ),
    rule(
        "1.config.resources",
        "resources: all four always enforced or reported.",
    ),
    rule(
        "1.config.volumes",
        "volumes: targets absolute, normalised, unique, and not /, /proc, /sys, /dev or below them.",
    ),
    rule(
        "1.config.tmpfs",
        "tmpfs: /tmp of 64 MiB when the root is read-only; counts towards memory.",
    ),
    rule(
        "1.config.ports",
        "ports: host port 0 or absent = the engine chooses and it is read back; host IP defaults to 127.0.0.1; tcp or udp.",
    ),
    rule(
        "1.config.network",
        "network: `none` by default, `host`, `default`, or a network made by create_network.",
    ),
    rule(
        "1.config.network.default",
        "`default` is the driver's own bridge with outbound NAT, created on first use.",
    ),
    rule("1.config.hosts", "hostname, dns, extraHosts: optional."),
    rule(
        "1.config.healthcheck",
        "healthcheck: {test, intervalMs, timeoutMs, retries, startPeriodMs}; runs inside the container.",
    ),
    rule(
        "1.config.init",
        "init: a pid 1 that reaps zombies and forwards signals.",
    ),
    rule(
        "1.config.init.pids",
        "init counts as one of pids, so pids < 2 with init is refused.",
    ),
    rule("1.config.stdin", "stdin: keep stdin of the main process open."),
    rule("1.config.tty", "tty: give the main process a terminal."),
    rule("1.config.stopSignal", "stopSignal: SIGTERM by default."),
    rule(
        "1.config.pullPolicy",
        "pullPolicy: never, missing or always; missing by default.",
    ),
    rule(
        "1.resources.ranges",
        "cpu cores >= 0.01, memory MiB >= 6, disk MiB >= 1, pids >= 1.",
    ),
    rule(
        "1.resources.defaults",
        "cpu 0.5, memory 512 (swap is pinned to none), disk 1024, pids 100 unless said.",
    ),
    rule(
        "1.resources.capacity",
        "More than the driver's capacity is a ResourceLimit error that names the resource, the limit and the request.",
    ),
    rule("1.security.readOnly", "readOnly is true unless said."),
    rule(
        "1.security.noNewPrivileges",
        "noNewPrivileges is true unless said.",
    ),
    rule(
        "1.security.user",
        "user is 1000:1000 unless said; name or uid, optional group.",
    ),
    rule(
        "1.security.capabilities",
        "capabilities: {drop: [ALL], add: []} unless said; Linux names, with or without CAP_.",
    ),
    rule("1.security.seccomp", "seccomp: default or unconfined."),
    rule(
        "1.mounts.kind",
        "A volume source beginning with / is a bind, else a named volume; readOnly is false unless said.",
    ),
    rule(
        "1.mounts.writable",
        "A writable volume in a read-only container is allowed: that is what it is for.",
    ),
    rule(
        "1.instance.fields",
        "An instance has id, name, sessionId, image, imageDigest?, status, state, endpoint, createdAt, startedAt?, finishedAt?, exit?, health?, ports, addresses, labels, resources, enforcement, driver, restarts.",
    ),
    rule("1.instance.times", "Times are epoch milliseconds."),
    rule(
        "1.instance.snapshot",
        "An instance is a snapshot: it does not change after it was returned.",
    ),
    rule(
        "1.instance.endpoint",
        "endpoint is the URL of the first published port, else {driver}://{id}.",
    ),
    rule(
        "1.exit",
        "exit: {exitCode?, signal?, reason, finishedAt} with reason exited | signaled | oom | stopped | removed | unknown.",
    ),
    rule(
        "1.enforcement",
        "enforcement: for each of cpu, memory, disk, pids native | emulated | none, plus the reason when not native.",
    ),
    rule(
        "1.status.ended",
        "stopped: ended because stop asked; exited: ended by itself.",
    ),
    rule(
        "1.status.state",
        "running and paused = state running; created, stopped, exited, removing = terminated; dead = error.",
    ),
    rule(
        "1.status.durable",
        "A driver whose engine cannot remember who ended a container may report exited for stopped after the driver itself was restarted, never before.",
    ),
    rule("2.table", "Legal moves are those of the state table."),
    rule(
        "2.invalid",
        "Everything else is INVALID_STATE: not retryable; carries the current status and the legal ones.",
    ),
    rule(
        "2.newRun",
        "Starting a stopped or exited container is a new run: startedAt new, exit cleared, restarts + 1.",
    ),
    rule(
        "2.unknown",
        "Unknown id: ContainerNotFound for every operation, except get_container (None) and remove with ignoreMissing (ok).",
    ),
    rule(
        "2.order",
        "State-changing calls on one container are serialised in arrival order; reads never wait for them.",
    ),
    rule("2.stopReturns", "stop returns only when the process is gone."),
    rule(
        "2.races",
        "Callers racing to start, stop or remove the same container both succeed or get the table's error: never a half-made object, a panic, or an engine's raw message without a code.",
    ),
];
