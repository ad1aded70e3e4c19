//! The security floor, judged from inside.

use driver_types::{Capability, ContainerConfig, LinuxCapabilities, SeccompProfile, SecurityOptions};

use super::inside::idle;
use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;
use crate::lines::Lines;

const USER: &[Capability] = &[Capability::User];

const CAPS: &[Capability] = &[Capability::LinuxCapabilities];

const SECCOMP: &[Capability] = &[Capability::Seccomp];

const READ_ONLY: &[Capability] = &[Capability::ReadOnlyRoot];

const NO_NEW: &[Capability] = &[Capability::NoNewPrivileges];

const NO_CAPABILITY: &str = "0000000000000000";

/// System calls that a container must not get, and what they would give it.
const REFUSED: [(&str, &[&str]); 5] = [
    ("mounts", &["mount", "umount", "chroot", "mknod"]),
    (
        "namespaces",
        &["unshare-user", "unshare-mount", "unshare-net", "setns"],
    ),
    (
        "kernel_interfaces",
        &[
            "bpf",
            "keyctl",
            "add-key",
            "perf",
            "userfaultfd",
            "open-by-handle",
        ],
    ),
    ("kernel_code", &["kexec", "init-module"]),
    ("identity", &["setuid", "sethostname", "raw-socket"]),
];

pub(super) fn register(group: &mut Group) {
    group
        .case("user_is_1000_by_default", default_user)
        .proves(&["1.security.user"]);
    group
        .case("user_by_number_and_name", user)
        .needs(USER)
        .proves(&["1.security.user"]);
    group
        .case("files_of_root_are_closed", files_of_root)
        .needs(USER)
        .proves(&["1.security.user"]);
    group
        .case("no_capabilities_by_default", no_capabilities)
        .needs(CAPS)
        .proves(&["7.capabilities", "1.security.capabilities"]);
    group
        .case("root_has_no_capabilities_either", root_without_capabilities)
        .needs(&[Capability::LinuxCapabilities, Capability::User])
        .proves(&["7.capabilities"]);
    group
        .case("added_capability_only", added_capability)
        .needs(&[Capability::LinuxCapabilities, Capability::User])
        .proves(&["1.security.capabilities"]);
    group
        .case("dropped_capability_only", dropped_capability)
        .needs(&[Capability::LinuxCapabilities, Capability::User])
        .proves(&["1.security.capabilities"]);
    group
        .case("unknown_capability_is_refused", unknown_capability)
        .needs(CAPS)
        .proves(&["1.security.capabilities"]);
    group
        .case("read_only_root", read_only_root)
        .needs(READ_ONLY)
        .proves(&["1.security.readOnly"]);
    group
        .case("tmp_is_writable_in_a_read_only_root", tmp)
        .needs(READ_ONLY)
        .proves(&["1.config.tmpfs"]);
    group
        .case("writable_root_on_request", writable_root)
        .proves(&["1.security.readOnly"]);
    group
        .case("no_new_privileges", no_new_privileges)
        .needs(NO_NEW)
        .proves(&["7.noNewPrivs", "1.security.noNewPrivileges"]);
    group
        .case("new_privileges_on_request", new_privileges)
        .needs(USER)
        .proves(&["1.security.noNewPrivileges"]);
    group
        .case("seccomp_filters", seccomp)
        .needs(SECCOMP)
        .proves(&["7.seccomp", "1.security.seccomp"]);
    group
        .case("seccomp_unconfined_on_request", unconfined)
        .proves(&["1.security.seccomp"]);
    for (name, calls) in REFUSED {
        group
            .case(format!("refuses_{name}"), move |cx| refuses(cx, calls))
            .needs(SECCOMP)
            .proves(&["7.seccomp", "7.capabilities"]);
    }
    group
        .case("exec_is_confined_as_well", exec_is_confined)
        .needs(&[
            Capability::Exec,
            Capability::LinuxCapabilities,
            Capability::NoNewPrivileges,
            Capability::Seccomp,
        ])
        .proves(&["7.capabilities", "7.noNewPrivs", "7.seccomp"]);
    super::security_isolation::register(group);
}

/// A config with these security options.
pub(super) fn secured<const N: usize>(
    cx: &Context,
    commands: [&str; N],
    security: SecurityOptions,
) -> ContainerConfig {
    cx.config(commands).security(security)
}

/// A user with all the rights that the other options leave.
pub(super) fn root() -> SecurityOptions {
    SecurityOptions::default().user("0:0")
}

async fn default_user(cx: Context) -> CaseResult {
    let output = cx
        .output(["uid", ",", "gid", ",", "groups", ",", "status", "Uid"])
        .await?;
    output.expect("uid", "1000")?;
    output.expect("gid", "1000")?;
    output.expect("status", "1000 1000 1000 1000")?;
    let groups = output.value("groups")?;
    expect::that(
        "no group of root",
        !groups.split(',').any(|group| group == "0"),
        groups,
    )
}

async fn user(cx: Context) -> CaseResult {
    for (user, ids) in [
        ("2000:3000", ["2000", "3000"]),
        ("other", ["2000", "2000"]),
        ("user:extra", ["1000", "3000"]),
    ] {
        let security = SecurityOptions::default().user(user);
        let output = cx
            .finish(&secured(&cx, ["uid", ",", "gid"], security))
            .await?
            .output;
        expect::equal(
            format!("ids of {user}"),
            [output.value("uid")?, output.value("gid")?],
            ids,
        )?;
    }
    Ok(())
}

async fn files_of_root(cx: Context) -> CaseResult {
    let output = cx
        .output(["read", "/secret", ",", "ls", "/root", ",", "read", "/readable"])
        .await?;
    output.expect_errno("read", "EACCES")?;
    output.expect_errno("ls", "EACCES")?;
    output.expect_line("read=readable\\n")
}

/// The five capability sets of a process.
const SETS: [&str; 14] = [
    "status", "CapInh", ",", "status", "CapPrm", ",", "status", "CapEff", ",", "status", "CapBnd", ",",
    "status", "CapAmb",
];

async fn no_capabilities(cx: Context) -> CaseResult {
    let output = cx.output(SETS).await?;
    let sets: Vec<_> = output.values("status").collect();
    expect::equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets,
        [NO_CAPABILITY; 5].to_vec(),
    )
}

async fn root_without_capabilities(cx: Context) -> CaseResult {
    let output = cx.finish(&secured(&cx, SETS, root())).await?.output;
    let sets: Vec<_> = output.values("status").collect();
    expect::equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets,
        [NO_CAPABILITY; 5].to_vec(),
    )
}

async fn added_capability(cx: Context) -> CaseResult {
    for name in ["NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE"] {
        let config = secured(
            &cx,
            ["status", "CapEff", ",", "status", "CapBnd"],
            root().add_capability(name),
        );
        let output = cx.finish(&config).await?.output;
        let sets: Vec<_> = output.values("status").collect();
        expect::equal(
            format!("effective and bounding with {name}"),
            sets,
            ["0000000000000400"; 2].to_vec(),
        )?;
    }
    Ok(())
}

async fn dropped_capability(cx: Context) -> CaseResult {
    let capabilities = LinuxCapabilities {
        drop: vec!["CHOWN".to_owned()],
        add: Vec::new(),
    };
    let config = secured(
        &cx,
        ["status", "CapEff"],
        SecurityOptions {
            capabilities,
            ..root()
        },
    );
    let output = cx.finish(&config).await?.output;
    let set = u64::from_str_radix(output.value("status")?, 16).unwrap_or_default();
    expect::that(
        "CHOWN (bit 0) dropped, KILL (bit 5) kept",
        set & 1 == 0 && set & (1 << 5) != 0,
        output.text(),
    )
}

async fn unknown_capability(cx: Context) -> CaseResult {
    let config = secured(
        &cx,
        ["uid"],
        SecurityOptions::default().add_capability("MAKE_COFFEE"),
    );
    let error = expect::permanent(cx.driver().create_container(&config).await, "CONFIGURATION_ERROR")?;
    expect::contains("a message", &error.to_string(), "MAKE_COFFEE")
}

async fn read_only_root(cx: Context) -> CaseResult {
    let output = cx
        .output([
            "write",
            "/work/file",
            "1",
            ",",
            "mkdir",
            "/data/new",
            ",",
            "mount-at",
            "/",
        ])
        .await?;
    output.expect_errno("write", "EROFS")?;
    output.expect_errno("mkdir", "EROFS")?;
    expect::that(
        "a mount of / that is ro",
        output.value("mount-at")?.ends_with(" ro"),
        output.text(),
    )
}

async fn tmp(cx: Context) -> CaseResult {
    let output = cx
        .output([
            "write",
            "/tmp/file",
            "hello",
            ",",
            "mount-at",
            "/tmp",
            ",",
            "fill",
            "/tmp/full",
            "80",
        ])
        .await?;
    output.expect("write", "5")?;
    output.expect("mount-at", "tmpfs rw")?;
    output.expect_errno("fill", "ENOSPC")?;
    let filled = output.number("filled")?;
    expect::that("62 to 64 MiB that fit", (62..=64).contains(&filled), filled)
}

async fn writable_root(cx: Context) -> CaseResult {
    let config = secured(
        &cx,
        ["write", "/work/file", "hello"],
        SecurityOptions::default().read_only(false),
    );
    cx.finish(&config).await?.output.expect("write", "5")
}

/// The set-uid program does not become root.
async fn no_new_privileges(cx: Context) -> CaseResult {
    let output = cx
        .output(["status", "NoNewPrivs", ",", "exec", "/suid", "uid"])
        .await?;
    output.expect("status", "1")?;
    output.expect("uid", "1000")
}

async fn new_privileges(cx: Context) -> CaseResult {
    let security = SecurityOptions::default().no_new_privileges(false);
    let output = cx
        .finish(&secured(
            &cx,
            ["status", "NoNewPrivs", ",", "exec", "/suid", "uid"],
            security,
        ))
        .await?
        .output;
    output.expect("status", "0")?;
    output.expect("uid", "0")
}

async fn seccomp(cx: Context) -> CaseResult {
    cx.output(["status", "Seccomp"]).await?.expect("status", "2")
}

async fn unconfined(cx: Context) -> CaseResult {
    let security = SecurityOptions::default().seccomp(SeccompProfile::Unconfined);
    cx.finish(&secured(&cx, ["status", "Seccomp"], security))
        .await?
        .output
        .expect("status", "0")
}

async fn refuses(cx: Context, calls: &'static [&'static str]) -> CaseResult {
    let commands: Vec<&str> = calls.iter().flat_map(|call| ["try", call, ","]).collect();
    let output = cx.output(commands).await?;
    calls.iter().try_for_each(|call| {
        let name = format!("try-{call}");
        // Where processes have one id only, no other is a number that the kernel knows.
        let is_unknown = *call == "setuid" && !cx.supports(Capability::User);
        if is_unknown && output.errno(&name) == Some("EINVAL") {
            return Ok(());
        }
        output.expect_refused(&name)
    })
}

async fn exec_is_confined(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let fields = ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp"];
    let commands: Vec<&str> = fields.iter().flat_map(|field| ["status", field, ","]).collect();
    for user in [None, Some("0:0")] {
        let mut spec = cx.exec_spec(&commands);
        spec.user = user.filter(|_| cx.supports(Capability::User)).map(str::to_owned);
        let result = cx.driver().exec(&id, &spec).await?;
        let output = Lines::new(result.stdout.to_text());
        let values: Vec<_> = output.values("status").collect();
        expect::equal(
            format!("{fields:?}"),
            values,
            [NO_CAPABILITY, NO_CAPABILITY, "1", "2"].to_vec(),
        )?;
    }
    Ok(())
}
