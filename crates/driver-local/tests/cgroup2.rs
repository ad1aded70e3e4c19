//! Where a driver may find itself on cgroup v2: in a service, in a container. Each layout is made on the real kernel, and a
//! driver in it runs a container. `cargo xtask test --vm` has such a kernel; without root and version 2 the tests skip.
//! The driver is root's, or that of `nobody`, to whom a group was delegated.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use driver_local::{LocalDriver, LocalOptions};
use driver_types::{
    Capability, ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerStatus, ExecSpec, ExitInfo,
    ExitReason, ResourceLimits, ShutdownMode, SupportLevel, WaitCondition,
};

const MOUNT: &str = "/sys/fs/cgroup";
const NOBODY: u32 = 65534;
/// Set for the process that is in a layout: the path of its state directory.
const STATE: &str = "DRIVER_LOCAL_TEST_STATE";

/// A group for the driver's process, below one that passes controllers on to it. Both are removed at the end.
struct Layout {
    above: PathBuf,
}

impl Layout {
    /// `None`, and a line that tells why, where this user cannot make groups of version 2.
    fn new(name: &str, controllers: &str) -> Option<Self> {
        let found = fs::read_to_string(format!("{MOUNT}/cgroup.controllers")).unwrap_or_default();
        let has_all = ["cpu", "memory", "pids"].iter().all(|name| found.contains(name));
        if !rustix::process::geteuid().is_root() || !has_all {
            let reason = "needs root, and cgroup v2 with the controllers cpu, memory and pids";
            assert!(std::env::var_os("DRIVER_REQUIRE_CGROUP2").is_none(), "{reason}");
            println!("skipped: {reason}");
            return None;
        }
        let layout = Self {
            above: Path::new(MOUNT).join(format!("driver-local-test-{name}-{}", std::process::id())),
        };
        fs::create_dir_all(layout.group()).unwrap();
        fs::write(format!("{MOUNT}/cgroup.subtree_control"), "+cpu +memory +pids").unwrap();
        fs::write(layout.above.join("cgroup.subtree_control"), controllers).unwrap();
        Some(layout)
    }

    fn group(&self) -> PathBuf {
        self.above.join("group")
    }

    /// Runs `inside`, started by this script, and returns what it said.
    fn run(&self, script: &str) -> String {
        self.run_test(script, "inside")
    }

    /// Gives the group to nobody, as systemd's `Delegate=yes` does, and runs a test as that user.
    fn run_as_nobody(&self, script: &str, test: &str) -> String {
        let files = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
        for file in files {
            chown(self.group().join(file), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let script =
            format!("set -- setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"\n{script}");
        let said = self.run_test(&script, test);
        assert_eq!(self.containers(), 0, "left in the delegated group");
        said
    }

    /// How many groups of containers there are.
    fn containers(&self) -> usize {
        let own = fs::read_dir(self.group().join("driver-local"));
        let own = own.into_iter().flatten().map(Result::unwrap);
        own.filter(|entry| entry.file_type().unwrap().is_dir()).count()
    }

    fn run_test(&self, script: &str, test: &str) -> String {
        let state = tempfile::tempdir().unwrap();
        chown(state.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let output = Command::new("sh")
            .args(["-ec", script, "sh"])
            // Not by its path: a checkout in the home of root is closed to others.
            .args(["/proc/self/fd/0", "--exact", test, "--nocapture"])
            .stdin(fs::File::open(std::env::current_exe().unwrap()).unwrap())
            .env("GROUP", self.group())
            .env(STATE, state.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{error}");
        said
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        remove(&self.above);
    }
}

/// Removes a group and those below it. What a driver has left to end by itself ends soon.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            remove(&entry.path());
        }
    }
    let begin = Instant::now();
    while let Err(error) = fs::remove_dir(group) {
        let processes = fs::read_to_string(group.join("cgroup.procs"));
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{}: {error}; {processes:?}",
            group.display()
        );
        std::thread::yield_now();
    }
}

const SERVICE: &str = "echo 0 >\"$GROUP/cgroup.procs\"\nexec \"$@\"";

/// A container as engines make one, with what `$PREPARE` does to its cgroups.
const CONTAINER: &str = "exec unshare --mount --pid --fork --mount-proc sh -ec '
    echo 0 >\"$GROUP/cgroup.procs\"
    exec unshare --cgroup sh -ec \"
        umount /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        $PREPARE
        exec \\\"\\$@\\\"\" sh \"$@\"' sh \"$@\"";

/// A driver in the layout: what it declares, and the life of a container with limits.
#[tokio::test]
async fn inside() {
    let Some(state) = std::env::var_os(STATE) else {
        println!("run by the other tests");
        return;
    };
    let driver =
        LocalDriver::open(LocalOptions::default().state_dir(Path::new(&state).join("state"))).unwrap();
    let capabilities = driver.capabilities().await.unwrap();
    for capability in [
        Capability::CpuLimit,
        Capability::MemoryLimit,
        Capability::PidsLimit,
        Capability::Pause,
        Capability::Stats,
    ] {
        let support = capabilities.get(capability);
        println!(
            "{capability}: {} {}",
            support.level,
            support.reason.as_deref().unwrap_or_default()
        );
    }
    let has_memory = capabilities.get(Capability::MemoryLimit).level != SupportLevel::None;
    let limits = match has_memory {
        true => ResourceLimits::default().memory(64),
        false => ResourceLimits::default(),
    };
    let config = ContainerConfig::new("layout", "host")
        .command(["sleep", "1000"])
        .resources(limits);
    let id = driver.create_container(&config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    let said = driver
        .exec(&id, &ExecSpec::new(["cat", "/proc/self/cgroup"]))
        .await
        .unwrap();
    println!("in the container: {}", said.stdout.to_text());
    if capabilities.supports(Capability::Stats) {
        let stats = driver.container_stats(&id).await.unwrap();
        println!("memory: {:?}", stats.memory.limit_bytes);
        println!("processes: {:?}", stats.pids.limit);
    }
    if capabilities.supports(Capability::Pause) {
        driver.pause_container(&id).await.unwrap();
        assert_eq!(
            driver.get_container(&id).await.unwrap().unwrap().status,
            ContainerStatus::Paused
        );
        driver.resume_container(&id).await.unwrap();
    }
    driver.force_remove(&id).await.unwrap();
    println!("own: {}", fs::read_to_string("/proc/self/cgroup").unwrap());
}

#[track_caller]
fn assert_says(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
}

const ALL: [&str; 6] = [
    "cpuLimit: native",
    "memoryLimit: native",
    "pidsLimit: native",
    "pause: native",
    "in the container: 0::/\n",
    "memory: Some(67108864)",
];

/// A group with processes cannot have groups with controllers below it: those of the driver are at the root of the host.
#[test]
fn cgroups_of_a_service_are_at_the_root() {
    let Some(layout) = Layout::new("service", "+cpu +memory +pids") else {
        return;
    };
    let said = layout.run(SERVICE);
    assert_says(&said, &ALL);
    assert!(!layout.group().join("driver-local").exists());
    assert_says(&said, &["/group\n"]);
}

/// There the root is a group with processes, which are taken into a leaf.
#[test]
fn cgroups_of_a_container_are_below_its_own() {
    let Some(layout) = Layout::new("container", "+cpu +memory +pids") else {
        return;
    };
    let said = layout.run(&format!("export PREPARE=true\n{CONTAINER}"));
    assert_says(&said, &ALL);
    assert_says(&said, &["own: 0::/init\n"]);
    assert!(layout.group().join("driver-local").exists());
}

/// As Docker in Docker is set up: somebody has made the leaf, and is in it.
#[test]
fn cgroups_of_a_container_that_is_prepared_stay_as_they_are() {
    let Some(layout) = Layout::new("prepared", "+cpu +memory +pids") else {
        return;
    };
    let prepare = "export PREPARE='mkdir /sys/fs/cgroup/mine; echo 0 >/sys/fs/cgroup/mine/cgroup.procs'";
    let said = layout.run(&format!("{prepare}\n{CONTAINER}"));
    assert_says(&said, &ALL);
    assert_says(&said, &["own: 0::/mine\n"]);
    assert!(!layout.group().join("init").exists());
}

#[test]
fn cgroups_without_a_controller_are_told() {
    let Some(layout) = Layout::new("partial", "+cpu +pids") else {
        return;
    };
    let said = layout.run(&format!("export PREPARE=true\n{CONTAINER}"));
    let memory = "memoryLimit: none cgroup v2 has no controller memory here";
    assert_says(
        &said,
        &[memory, "cpuLimit: native", "pidsLimit: native", "memory: None"],
    );
}

/// A container without privileges of the engine: limits are refused with the reason, containers run without.
#[test]
fn cgroups_that_are_read_only_are_told() {
    let Some(layout) = Layout::new("read-only", "+cpu +memory +pids") else {
        return;
    };
    let said = layout.run(&format!(
        "export PREPARE='mount -o remount,bind,ro /sys/fs/cgroup'\n{CONTAINER}"
    ));
    let memory = "memoryLimit: none cgroup v2 is not delegated to this process";
    assert_says(
        &said,
        &[
            memory,
            "cpuLimit: none",
            "pidsLimit: none",
            "pause: none",
            "stats: none",
            "a privileged one",
        ],
    );
}

const NATIVE: [Capability; 5] = [
    Capability::CpuLimit,
    Capability::MemoryLimit,
    Capability::PidsLimit,
    Capability::Pause,
    Capability::Stats,
];

/// A driver of a user in a group that was delegated to him: all limits bite.
#[tokio::test]
async fn inside_delegated() {
    let Some(state) = std::env::var_os(STATE) else {
        println!("run by the other tests");
        return;
    };
    let options = LocalOptions::default().state_dir(Path::new(&state).join("state"));
    let driver = LocalDriver::open(options).unwrap();
    let capabilities = driver.capabilities().await.unwrap();
    for capability in NATIVE {
        let support = capabilities.get(capability);
        assert_eq!(support.level, SupportLevel::Native, "{capability}: {support:?}");
    }
    assert!(capabilities.supports(Capability::UpdateResources));
    let limits = || ResourceLimits::default().memory(32).pids(16);

    let config = ContainerConfig::new("delegated", "host")
        .command(["tail", "/dev/zero"])
        .resources(limits());
    let exit = finish(&driver, &config).await;
    assert_eq!(exit.reason, ExitReason::Oom, "{exit:?}");

    let many = "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; exit 7";
    let config = ContainerConfig::new("delegated", "host")
        .command(["sh", "-c", many])
        .resources(limits());
    let exit = finish(&driver, &config).await;
    assert!(
        exit.exit_code.is_some_and(|code| code != 0 && code != 7),
        "{exit:?}"
    );

    let config = ContainerConfig::new("delegated", "host")
        .command(["sleep", "1000"])
        .resources(limits());
    let id = driver.create_container(&config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    driver
        .update_resources(&id, &limits().memory(64).pids(20).cpu(0.5))
        .await
        .unwrap();
    let stats = driver.container_stats(&id).await.unwrap();
    assert_eq!(stats.memory.limit_bytes, Some(64 << 20));
    assert_eq!(stats.pids.limit, Some(20));
    assert!(stats.memory.current_bytes > Some(0) && stats.cpu.usage_nanos > Some(0));
    driver.pause_container(&id).await.unwrap();
    let paused = driver.get_container(&id).await.unwrap().unwrap();
    assert_eq!(paused.status, ContainerStatus::Paused);
    driver.resume_container(&id).await.unwrap();
    // A process that joins is held as well.
    let group = ExecSpec::new(["cat", "/proc/self/cgroup"]);
    let said = driver.exec(&id, &group).await.unwrap();
    assert_eq!(said.stdout.to_text(), "0::/\n");
    driver.force_remove(&id).await.unwrap();
    driver.shutdown(ShutdownMode::Remove).await.unwrap();
    println!("own: {}", fs::read_to_string("/proc/self/cgroup").unwrap());
}

async fn finish(driver: &LocalDriver, config: &ContainerConfig) -> ExitInfo {
    let id = driver.create_container(config).await.unwrap().id;
    driver.start_container(&id).await.unwrap();
    let exit = driver
        .wait_container(&id, WaitCondition::default())
        .await
        .unwrap();
    driver.force_remove(&id).await.unwrap();
    exit
}

/// As a systemd service of a user, or by `systemd-run --user --scope`: the process is alone in the group itself.
#[test]
fn cgroups_that_are_delegated_to_a_user_hold_all_limits() {
    let Some(layout) = Layout::new("delegated", "+cpu +memory +pids") else {
        return;
    };
    let said = layout.run_as_nobody(SERVICE, "inside_delegated");
    assert_says(&said, &["/group/init\n"]);
}

/// In a container of a user: the group is the root of all that is seen, and a process of another is in it.
#[test]
fn cgroups_of_a_container_of_a_user_hold_all_limits() {
    let Some(layout) = Layout::new("user-container", "+cpu +memory +pids") else {
        return;
    };
    let script = format!("export PREPARE='sleep 1000 &'\n{CONTAINER}");
    let said = layout.run_as_nobody(&script, "inside_delegated");
    assert_says(&said, &["own: 0::/init\n"]);
}

/// They are not moved: it may be them who were to make the groups below.
#[test]
fn cgroups_with_processes_of_others_are_refused_with_the_way_out() {
    let Some(layout) = Layout::new("crowded", "+cpu +memory +pids") else {
        return;
    };
    let script = "echo 0 >\"$GROUP/cgroup.procs\"\n\"$@\"\n:";
    let said = layout.run_as_nobody(script, "inside");
    assert_says(
        &said,
        &[
            "memoryLimit: none other processes than this one are in",
            "/group/init, or start this process alone",
            "systemd-run --user --scope -p Delegate=yes",
        ],
    );
    assert!(!layout.group().join("init").exists());
}

#[test]
fn cgroups_that_are_not_delegated_are_told_to_a_user() {
    let Some(layout) = Layout::new("foreign", "+cpu +memory +pids") else {
        return;
    };
    let script = format!("set -- setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"\n{SERVICE}");
    let said = layout.run(&script);
    assert_says(
        &said,
        &[
            "memoryLimit: none cgroup v2 is not delegated",
            "pause: none",
            "stats: none",
        ],
    );
}
