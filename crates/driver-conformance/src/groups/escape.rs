//! Escapes: what hostile images, archives, names and workloads try, and that nothing of the host changes.

use std::fs;
use std::path::PathBuf;

use driver_types::{Capability, ContainerConfig, DriverError};

use super::inside::idle;
use super::security::{root, secured};
use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;
use crate::fnv::fnv1a64;
use crate::lines::Lines;

/// The rule that all cases of the group prove.
pub(super) const ESCAPE: &[&str] = &["7.escape"];

pub(super) fn register(group: &mut Group) {
    group
        .case("programs_of_the_host_cannot_be_written", spied_execs)
        .needs(&[Capability::Exec, Capability::User])
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("processes_of_another_user_are_closed", another_user)
        .needs(&[Capability::Exec, Capability::User])
        .proves(ESCAPE);
    group
        .case("working_dir_through_descriptors", working_dir)
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("working_dir_of_an_exec_through_descriptors", exec_working_dir)
        .needs(&[Capability::Exec])
        .timeout_seconds(180)
        .proves(ESCAPE);
    group
        .case("an_exec_inherits_no_capabilities", exec_sets)
        .needs(&[Capability::Exec, Capability::LinuxCapabilities])
        .proves(&["7.escape", "7.capabilities"]);
    group
        .case("an_exec_joins_namespaces_and_cgroup", exec_joins)
        .needs(&[Capability::Exec])
        .proves(&["7.escape", "7.namespaces"]);
    super::escape_calls::register(group);
    super::escape_runtime::register(group);
    super::escape_images::register(group);
    super::escape_archives::register(group);
    super::escape_races::register(group);
    super::escape_bombs::register(group);
    super::escape_names::register(group);
}

/// Ends the case as skipped where there is no kernel that could let anything out.
pub(super) fn needs_a_kernel(cx: &Context) -> CaseResult {
    if cx.factory().simulated() {
        return expect::skip("containers are simulated: there is no kernel and no file of the host to reach");
    }
    Ok(())
}

/// A directory of the host that nothing may read or change.
pub(super) struct Canary(tempfile::TempDir);

/// What the canary's file holds: also a line of a passwd file, for whoever takes it for one.
const SECRET: &str = "evil:x:0:0:canary:/:/workload\n";

impl Canary {
    pub(super) fn new() -> Result<Self, CaseError> {
        let broken = |error: std::io::Error| Failure::new("a directory for the canary", error.to_string());
        let directory = tempfile::tempdir().map_err(broken)?;
        fs::write(directory.path().join("file"), SECRET).map_err(broken)?;
        Ok(Self(directory))
    }

    /// The path of the directory.
    pub(super) fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    /// There is one file in it still, as it was.
    #[track_caller]
    pub(super) fn untouched(&self) -> CaseResult {
        let names: Vec<_> = fs::read_dir(self.0.path())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        expect::equal("files of the host's canary", names, ["file"].to_vec())?;
        let content = fs::read_to_string(self.0.path().join("file")).unwrap_or_default();
        expect::equal("its content", content.as_str(), SECRET)
    }

    /// The text has nothing of the canary's file.
    #[track_caller]
    pub(super) fn unread(&self, text: &str) -> CaseResult {
        expect::that("nothing of the host's canary", !text.contains("canary:/"), text)
    }
}

/// Checksums of the programs of the host that run containers, where they can be read.
pub(super) fn programs() -> Vec<(PathBuf, u64)> {
    let known = [
        "runc",
        "crun",
        "docker-init",
        "dockerd",
        "containerd-shim-runc-v2",
    ];
    let places = known
        .iter()
        .flat_map(|name| ["/usr/bin", "/usr/sbin"].map(|directory| PathBuf::from(directory).join(name)));
    std::env::current_exe()
        .into_iter()
        .chain(places)
        .filter_map(|path| fs::read(&path).ok().map(|content| (path, fnv1a64(&content))))
        .collect()
}

/// CVE-2019-5736, CVE-2022-0847: a root inside looks at every process that joins, and tries to write its program.
async fn spied_execs(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let before = programs();
    let id = cx
        .run(&secured(&cx, ["spy", "/tmp/end", ",", "forever"], root()))
        .await?
        .id;
    for _ in 0..20 {
        cx.exec_lines(&id, ["uid"]).await?.expect("uid", "0")?;
    }
    cx.exec_lines(&id, ["write", "/tmp/end", "1"]).await?;
    crate::context::until("the spy's report", || async {
        Ok(cx.lines(&id).await?.value("spy").is_ok().then_some(()))
    })
    .await?;
    let seen = cx.lines(&id).await?;
    seen.expect("spy", "0")?;
    // The last exec may be seen while it writes the file that ends the spy: that one is the container's own.
    let own_places = ["/dev/", "/proc/", "/tmp/end"];
    let foreign =
        |path: &&str| path.starts_with('/') && !own_places.iter().any(|place| path.starts_with(place));
    let files: Vec<_> = seen.values("spy-file").filter(foreign).collect();
    expect::that(
        "no open file of the host in a process that joins",
        files.is_empty(),
        files,
    )?;
    let own = [
        "HOME",
        "HOSTNAME",
        "PATH",
        "TERM",
        "USER",
        "container",
        "IMAGE_ENV",
    ];
    let names: Vec<_> = seen
        .values("spy-name")
        .filter(|name| !own.contains(name))
        .collect();
    expect::that(
        "no variable of the host in a process that joins",
        names.is_empty(),
        names,
    )?;
    expect::equal("programs of the host", programs(), before)
}

async fn another_user(cx: Context) -> CaseResult {
    needs_a_kernel(&cx)?;
    let id = idle(&cx).await?;
    let mut spec = cx.exec_spec([
        "trace",
        "1",
        ",",
        "read",
        "/proc/1/environ",
        ",",
        "ls",
        "/proc/1/fd",
        ",",
        "readlink",
        "/proc/1/root",
        ",",
        "open-write",
        "/proc/1/exe",
    ]);
    spec.user = Some("2000:2000".to_owned());
    let output = Lines::new(cx.driver().exec(&id, &spec).await?.stdout.to_text());
    ["trace", "read", "ls", "readlink", "open-write"]
        .iter()
        .try_for_each(|name| output.expect_refused(name))
}

/// What a process says that knows only its working directory.
const LOOK: [&str; 5] = [
    "cwd",
    ",",
    "read",
    "../../../../../../../../../../etc/image-marker",
    ",",
];

/// Whoever runs, runs below its own root.
fn is_below_root(output: &Lines) -> CaseResult {
    let cwd = output.value("cwd")?;
    expect::that(
        "a working directory below the root",
        cwd.starts_with('/'),
        output.text(),
    )?;
    output.expect("read", "inside\\n")
}

/// CVE-2024-21626.
async fn working_dir(cx: Context) -> CaseResult {
    for number in [3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 32, 64] {
        let config = working_in(&cx, &format!("/proc/self/fd/{number}"));
        let id = cx.create(&config).await?.id;
        match cx.driver().start_container(&id).await {
            Ok(()) => {
                cx.wait_exit(&id).await?;
                is_below_root(&cx.lines(&id).await?)?;
            }
            Err(error) => refused(&error, "CONTAINER_START_FAILED")?,
        }
    }
    Ok(())
}

pub(super) fn working_in(cx: &Context, path: &str) -> ContainerConfig {
    let mut config = cx.config(LOOK);
    config.working_dir = Some(path.to_owned());
    config
}

async fn exec_working_dir(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    for number in 3..=64 {
        let mut spec = cx.exec_spec(LOOK);
        spec.working_dir = Some(format!("/proc/self/fd/{number}"));
        match cx.driver().exec(&id, &spec).await {
            // The program was not run: it tells its own failures in what it prints.
            Ok(result) if matches!(result.exit_code, 126 | 127) => {}
            Ok(result) => is_below_root(&Lines::new(result.stdout.to_text()))?,
            Err(error) => refused(&error, "EXEC_START_FAILED")?,
        }
    }
    Ok(())
}

/// CVE-2022-24769, CVE-2022-29162.
async fn exec_sets(cx: Context) -> CaseResult {
    let id = idle(&cx).await?;
    let sets = [
        "status", "CapInh", ",", "status", "CapPrm", ",", "status", "CapAmb",
    ];
    let output = cx.exec_lines(&id, sets).await?;
    expect::equal(
        "inheritable, permitted, ambient",
        output.values("status").collect::<Vec<_>>(),
        ["0000000000000000"; 3].to_vec(),
    )
}

async fn exec_joins(cx: Context) -> CaseResult {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let paths = kinds.map(|kind| format!("/proc/self/ns/{kind}"));
    let namespaces = paths.iter().flat_map(|path| ["readlink", path, ","]);
    let commands: Vec<&str> = namespaces.chain(["read", "/proc/self/cgroup"]).collect();
    let id = cx.ready(&commands).await?.id;
    let of_start = cx.lines(&id).await?;
    let of_exec = cx.exec_lines(&id, &commands).await?;
    expect::equal(
        "namespaces and cgroup of an exec",
        of_exec.text(),
        of_start.text().trim_end_matches("ready\n"),
    )
}

/// The refusal of what was attacked, which a retry does not change: the other way to pass beside being confined. Another
/// error tells nothing of the wall.
#[track_caller]
pub(super) fn refused(error: &DriverError, code: &str) -> CaseResult {
    let is_it = error.code() == code && !error.is_retryable();
    expect::that(format!("success, or {code} that is not retryable"), is_it, error)
}
