//! Section 3 of the contract.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "3.create.validate",
        "create validates: all violations at once, each with a JSON pointer.",
    ),
    rule(
        "3.create.order",
        "create validates, checks capabilities, checks resources against the driver's capacity, resolves the image, then builds.",
    ),
    rule("3.create.atomic", "A failed create leaves nothing behind."),
    rule("3.create.dropped", "A dropped create leaves nothing behind."),
    rule(
        "3.create.requestId",
        "Same requestId and equal config: the same container is returned.",
    ),
    rule(
        "3.create.requestId.other",
        "Same requestId and different config: ConfigurationError.",
    ),
    rule(
        "3.create.name",
        "Taken name: ContainerCreation error, not retryable.",
    ),
    rule(
        "3.create.image",
        "Missing image under `never`, or unknown to the registry: ImageNotFound.",
    ),
    rule("3.start.returns", "start returns when the process runs."),
    rule(
        "3.start.reason",
        "A failed start is ContainerStart with the engine's reason (missing binary, permission denied, port taken).",
    ),
    rule(
        "3.start.failed",
        "After a failed start the container is back in its former state and can be started again.",
    ),
    rule(
        "3.stop.signal",
        "stop sends the signal (default stopSignal), waits up to timeout (default 10000), then SIGKILL.",
    ),
    rule("3.stop.now", "timeout 0 and force mean SIGKILL at once."),
    rule(
        "3.stop.seconds",
        "Engines that take whole seconds round the timeout up, never down to 0.",
    ),
    rule(
        "3.remove.all",
        "remove removes the writable layer, logs and every kernel object.",
    ),
    rule(
        "3.list.filters",
        "Filters are ANDed (session, status, state, labels, name prefix).",
    ),
    rule("3.list.order", "list order: oldest first."),
    rule(
        "3.owner",
        "Only the owner's objects are listed, changed or removed, unless asked for.",
    ),
    rule("3.logs.order", "Logs are a string, in order of arrival."),
    rule("3.logs.status", "Logs work in every status."),
    rule(
        "3.logs.options",
        "Log options: tail, since ms, until ms, timestamps, stdout, stderr; tail 0 gives an empty string.",
    ),
    rule(
        "3.logs.follow",
        "`follow` is refused by get_container_logs with a pointer to stream_logs.",
    ),
    rule(
        "3.health.unreachable",
        "health_check: an unreachable engine is Ok with status unhealthy and an error text; only a broken reply is an error.",
    ),
    rule(
        "3.health.container",
        "is_container_healthy: running, and its health check (if any) not unhealthy; unknown id: ContainerNotFound.",
    ),
    rule(
        "3.volumes.create",
        "create_volume with the name and spec of an existing one returns that one; another spec: VolumeCreation error.",
    ),
    rule(
        "3.volumes.remove",
        "remove_volume takes an id or a name; in use: VolumeRemove error.",
    ),
    rule(
        "3.networks.create",
        "create_network with the name and spec of an existing one returns that one; another spec: NetworkCreation error.",
    ),
    rule(
        "3.networks.remove",
        "remove_network takes an id or a name; in use: NetworkRemove error.",
    ),
    rule(
        "3.wait",
        "wait_container resolves to exit; at once when it already ended; many waiters.",
    ),
    rule(
        "3.wait.logs",
        "Log bytes written before the exit are readable before wait resolves.",
    ),
    rule("3.signal", "signal_container sends a signal to the main process."),
    rule(
        "3.pause",
        "pause_container and resume_container freeze and thaw all processes.",
    ),
    rule(
        "3.exec.spec",
        "exec takes argv, env, workingDir, user, tty, stdin bytes.",
    ),
    rule(
        "3.exec.cap",
        "exec has an output cap per stream (default 1 MiB), flagged when cut.",
    ),
    rule("3.exec.exit", "exec: a non-zero exit is a result, not an error."),
    rule("3.exec.missing", "exec: missing binary 127, not executable 126."),
    rule(
        "3.exec.timeout",
        "exec: on timeout the whole tree is killed (TERM, then KILL) inside the container, the container goes on, and the result says timedOut.",
    ),
    rule("3.exec.state", "exec: not running is INVALID_STATE."),
    rule(
        "3.attach",
        "attach: the same handle as exec_stream for the main process; closing it does not stop the container.",
    ),
    rule(
        "3.execStream.handle",
        "exec_stream: frames of stdout / stderr / exit, stdin write and close, resize, signal, wait, kill.",
    ),
    rule(
        "3.execStream.drop",
        "Dropping the handle kills the tree unless it was detached.",
    ),
    rule(
        "3.streamLogs",
        "stream_logs: frames (stream, time, bytes); follow ends when the container ends.",
    ),
    rule(
        "3.stats",
        "container_stats, stream_stats: cpu usage and throttling, memory current / peak / limit, pids, block io, network io, oom count, disk used.",
    ),
    rule(
        "3.stats.absent",
        "A counter that the engine lacks is null, never 0.",
    ),
    rule(
        "3.events.kinds",
        "events: created, started, paused, resumed, exited(reason), oom, health, removed, image, volume and network changes.",
    ),
    rule(
        "3.events.order",
        "Events are in order per container; a slow reader gets a `lagged` marker and must list again.",
    ),
    rule(
        "3.copy.status",
        "copy_into, copy_from work in created, running, stopped.",
    ),
    rule(
        "3.copy.root",
        "Copies are resolved inside the container's root, never through a symlink that leads out.",
    ),
    rule(
        "3.copy.binary",
        "Copies are binary safe; helpers read_file, write_file.",
    ),
    rule("3.volumes.read", "list_volumes, get_volume."),
    rule("3.networks.read", "list_networks, get_network."),
    rule(
        "3.images.pull",
        "pull_image: progress stream, single flight per reference.",
    ),
    rule(
        "3.images.manage",
        "import_image(name, rootfs tar), list_images, get_image, remove_image.",
    ),
    rule("3.update", "update_resources: live, all or nothing."),
    rule(
        "3.snapshot",
        "snapshot_container gives an image reference, usable by create.",
    ),
    rule(
        "3.preflight",
        "preflight: each host requirement ok / warn / fail with the remedy.",
    ),
    rule(
        "3.plan",
        "plan: what create would do (native, emulated, refused); no side effect.",
    ),
    rule(
        "3.recover",
        "recover adopts what still runs, collects exits that happened meanwhile, reports orphans.",
    ),
    rule(
        "3.reap",
        "reap removes what has expired or has no owner, never what does not carry our labels.",
    ),
    rule("3.shutdown", "shutdown(leave | stop | remove)."),
    rule(
        "3.deadlines",
        "Every operation accepts a deadline; the error is Timeout and names the operation.",
    ),
    rule(
        "3.cancel",
        "Cancelling by dropping the future is safe everywhere.",
    ),
];
