//! The security floor: what a container sees of the host and of other containers.

use std::collections::BTreeSet;

use driver_types::{Capability, ContainerConfig, SecurityOptions};

use super::inside::idle;
use super::security::{root, secured};
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group.case("masked_paths", masked_paths).proves(&["7.masked"]);
    group
        .case("read_only_paths", read_only_paths)
        .needs(&[Capability::User])
        .proves(&["7.masked"]);
    group
        .case("proc_of_its_own", own_proc)
        .proves(&["7.proc", "7.namespaces"]);
    group
        .case("hosts_processes_cannot_be_signalled", host_processes)
        .proves(&["7.host"]);
    group
        .case("namespaces_of_its_own", namespaces)
        .proves(&["7.namespaces"]);
    group
        .case("hostname_of_its_own", own_hostname)
        .proves(&["7.namespaces"]);
    group
        .case("no_inherited_descriptors", descriptors)
        .proves(&["7.fds"]);
    group
        .case("no_inherited_descriptors_in_an_exec", exec_descriptors)
        .needs(&[Capability::Exec])
        .proves(&["7.fds"]);
    group
        .case("no_environment_of_the_host", environment)
        .proves(&["7.env"]);
    group
        .case("network_none_has_loopback_only", network_none)
        .proves(&["1.config.network", "7.namespaces"]);
    group
        .case("metadata_address_is_not_reachable", metadata)
        .needs(&[Capability::NetworkDefault])
        .proves(&["7.metadata"]);
}

/// What is masked is empty or closed.
async fn masked_paths(cx: Context) -> CaseResult {
    let files = [
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/latency_stats",
    ];
    let directories = ["/sys/firmware", "/proc/acpi", "/proc/scsi"];
    let sizes = files.iter().flat_map(|path| ["size", path, ","]);
    let lists = directories.iter().flat_map(|path| ["ls", path, ","]);
    let commands: Vec<&str> = ["try", "read-kcore", ","]
        .into_iter()
        .chain(sizes)
        .chain(lists)
        .collect();
    let output = cx.output(commands).await?;
    let empty = output.values("size").all(|size| size.starts_with("0 "));
    expect::that("no content in masked files", empty, output.text())?;
    output.expect_refused("try-read-kcore")?;
    expect::that(
        "no entry in masked directories",
        output.values("ls").all(str::is_empty),
        output.text(),
    )
}

async fn read_only_paths(cx: Context) -> CaseResult {
    let output = cx
        .finish(&secured(
            &cx,
            [
                "try",
                "write-sysrq",
                ",",
                "try",
                "write-sysctl",
                ",",
                "mount-at",
                "/sys",
            ],
            root(),
        ))
        .await?
        .output;
    output.expect_refused("try-write-sysrq")?;
    output.expect_refused("try-write-sysctl")?;
    expect::that(
        "a mount of /sys that is ro",
        output.value("mount-at")?.ends_with(" ro"),
        output.text(),
    )
}

/// At most the init process, the program, and nothing of the host.
async fn own_proc(cx: Context) -> CaseResult {
    let output = cx.output(["ps", ",", "pid"]).await?;
    let processes: Vec<_> = output.values("proc").collect();
    expect::that("1 or 2 processes", (1..=2).contains(&processes.len()), &processes)?;
    expect::that(
        "process 1 among them",
        processes.iter().any(|process| process.starts_with("1 ")),
        &processes,
    )?;
    expect::that("a small own pid", output.number("pid")? < 100, output.text())
}

async fn host_processes(cx: Context) -> CaseResult {
    // This very process, or one that does not exist: neither may be there.
    let pid = std::process::id().max(1000).to_string();
    let user = match cx.supports(Capability::User) {
        true => root(),
        false => SecurityOptions::default(),
    };
    let output = cx
        .finish(&secured(
            &cx,
            ["signal-pid", &pid, "0", ",", "exists", &format!("/proc/{pid}")],
            user,
        ))
        .await?;
    output.output.expect_errno("signal-pid", "ESRCH")?;
    expect::equal(
        "exit code of a look for its /proc directory",
        output.exit.exit_code,
        Some(1),
    )
}

/// Two containers share none of the six; two that shared one with the host would share it with each other.
async fn namespaces(cx: Context) -> CaseResult {
    let kinds = ["pid", "mnt", "uts", "ipc", "net", "cgroup"];
    let paths = kinds.map(|kind| format!("/proc/self/ns/{kind}"));
    let commands: Vec<&str> = paths.iter().flat_map(|path| ["readlink", path, ","]).collect();
    let one = cx.ready(&commands).await?;
    let two = cx.ready(&commands).await?;
    let (one, two) = (cx.lines(&one.id).await?, cx.lines(&two.id).await?);
    let (one, two): (Vec<_>, Vec<_>) = (one.values("readlink").collect(), two.values("readlink").collect());
    expect::equal("namespaces that can be read", (one.len(), two.len()), (6, 6))?;
    let shared: Vec<_> = kinds
        .iter()
        .zip(one.iter().zip(&two))
        .filter(|(_, (one, two))| one == two)
        .collect();
    expect::that("no namespace in common", shared.is_empty(), &shared)
}

async fn own_hostname(cx: Context) -> CaseResult {
    let output = cx.output(["hostname"]).await?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    expect::differs("host name", output.value("hostname")?, host.trim())
}

async fn descriptors(cx: Context) -> CaseResult {
    cx.output(["fds"]).await?.expect("fds", "0,1,2")
}

async fn exec_descriptors(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    cx.exec_lines(&id, ["fds"]).await?.expect("fds", "0,1,2")
}

/// Names that engines set themselves.
const ENGINES_NAMES: [&str; 6] = ["HOME", "HOSTNAME", "PATH", "TERM", "USER", "container"];

async fn environment(cx: Context) -> CaseResult {
    let output = cx
        .finish(&cx.config(["env-names"]).env("OF_CONFIG", "1"))
        .await?
        .output;
    let names: BTreeSet<_> = output.value("env-names")?.split(',').collect();
    expect::that(
        "the config's and the image's",
        names.contains("OF_CONFIG") && names.contains("IMAGE_ENV"),
        &names,
    )?;
    let known = |name: &&str| ["OF_CONFIG", "IMAGE_ENV"].contains(name) || ENGINES_NAMES.contains(name);
    let strange: Vec<_> = names.into_iter().filter(|name| !known(name)).collect();
    expect::that("no other", strange.is_empty(), strange)
}

async fn network_none(cx: Context) -> CaseResult {
    let output = cx
        .output([
            "interfaces",
            ",",
            "addresses",
            ",",
            "tcp-connect",
            "192.0.2.1",
            "80",
            "x",
        ])
        .await?;
    output.expect("interfaces", "lo")?;
    output.expect("addresses", "127.0.0.1")?;
    output.expect_errno("tcp-connect", "ENETUNREACH")
}

async fn metadata(cx: Context) -> CaseResult {
    let config = cx.config(["tcp-connect", "169.254.169.254", "80", "x", ",", "interfaces"]);
    let output = cx
        .finish(&config.network(ContainerConfig::NETWORK_DEFAULT))
        .await?
        .output;
    expect::that(
        "an interface beside loopback",
        output.value("interfaces")? != "lo",
        output.text(),
    )?;
    expect::that(
        "no connection",
        output.errno("tcp-connect").is_some(),
        output.text(),
    )
}
