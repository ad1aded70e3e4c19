//! A writable root under a project quota: what a container can do against its limit, and that nothing of it outlives the
//! container. Skipped where the directory for temporary files has no project quotas; `cargo xtask test --vm` has them.

#![allow(clippy::unwrap_used)]

#[path = "common/disk.rs"]
mod fixture;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use driver_local::{DiskBackend, LocalDriver};
use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec, ResourceLimits};

const MIB: u64 = ResourceLimits::MIB;

fn open(state: &Path) -> LocalDriver {
    fixture::open(state, DiskBackend::Quota)
}

async fn can_run(driver: &LocalDriver) -> bool {
    let lack = fixture::lack(driver).await;
    if let Some(lack) = &lack {
        assert!(std::env::var_os("DRIVER_REQUIRE_QUOTA").is_none(), "{lack}");
        println!("skipped: {lack}");
    }
    lack.is_none()
}

fn config() -> ContainerConfig {
    fixture::config(["sleep", "1000"])
}

/// Runs a script in a container.
async fn script(driver: &LocalDriver, id: &str, text: &str) -> (i32, String) {
    let done = driver.exec(id, &ExecSpec::new(["sh", "-c", text])).await.unwrap();
    let said = format!("{}{}", done.stdout.to_text(), done.stderr.to_text());
    (done.exit_code, said)
}

fn disk(state: &Path, id: &str) -> PathBuf {
    state.join("containers").join(id).join("disk")
}

/// What the kernel keeps of a project, as e2fsprogs lists it from the device.
struct Project {
    id: String,
    device: PathBuf,
}

impl Project {
    /// That of a container's layer.
    fn of(disk: &Path) -> Self {
        let listed = Command::new("lsattr")
            .args(["-p", "-d"])
            .arg(disk)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let id = listed.split_whitespace().next().unwrap().to_owned();
        let device = rustix::fs::stat(disk).unwrap().st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).unwrap();
        let device = Path::new("/dev").join(device.file_name().unwrap());
        Self { id, device }
    }

    /// `None` where the list could not be read: the file system that changes meanwhile.
    fn known(&self) -> Option<bool> {
        let listed = Command::new("debugfs")
            .args(["-R", "list_quota project"])
            .arg(&self.device)
            .output()
            .unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout);
        let is_it = |line: &str| line.split_whitespace().next() == Some(&self.id);
        listed.contains("limit").then(|| listed.lines().any(is_it))
    }

    async fn becomes_known(&self, known: bool) {
        let becomes = async {
            while self.known() != Some(known) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), becomes)
            .await
            .unwrap_or_else(|_| panic!("project {}: known does not become {known}", self.id));
    }
}

#[tokio::test]
async fn a_container_cannot_pass_its_quota() {
    let state = tempfile::tempdir().unwrap();
    let driver = open(state.path());
    if !can_run(&driver).await {
        return;
    }
    let id = driver.run_container(&config()).await.unwrap().id;
    let run = async |text| script(&driver, &id, text).await;
    let fill = "head -c 50331648 /dev/zero >/big 2>/err; stat -c %s /big";
    let (_, size) = run(fill).await;
    let size: u64 = size.trim().parse().unwrap();
    assert!(size > 15 * MIB && size <= 16 * MIB, "{size}");
    let used = driver
        .container_stats(&id)
        .await
        .unwrap()
        .disk_used_bytes
        .unwrap();
    assert!(used >= size && used <= 16 * MIB, "{used}");
    // What df says is the limit.
    let (_, total) = run("df -B1 --output=size / | tail -n 1").await;
    assert_eq!(total.trim(), (16 * MIB).to_string());

    // Out of the project, or its directory no longer handing it on.
    for escape in [
        "chattr -p 0 /big",
        "rm /big; mkdir /out; chattr -P /out",
        "chattr +d /out",
    ] {
        let (code, said) = run(escape).await;
        assert!(code != 0 && said.contains("not supported"), "{escape}: {said}");
    }
    let fill = "head -c 50331648 /dev/zero >/out/big 2>/err; stat -c %s /out/big; rm /out/big";
    let (_, size) = run(fill).await;
    assert!(size.trim().parse::<u64>().unwrap() <= 16 * MIB, "{size}");
    // Nor by files without content.
    let one = config().resources.disk(1);
    driver.update_resources(&id, &one).await.unwrap();
    let (_, made) =
        run("i=0; while true >/out/$i && [ $i -lt 1000 ]; do i=$((i+1)); done 2>/err; echo $i").await;
    let made: u64 = made.trim().parse().unwrap();
    assert!(made < MIB / 4096, "{made}");

    driver.force_remove(&id).await.unwrap();
}

#[tokio::test]
async fn a_quota_is_changed_while_the_container_runs() {
    let state = tempfile::tempdir().unwrap();
    let driver = open(state.path());
    if !can_run(&driver).await {
        return;
    }
    let id = driver.run_container(&config()).await.unwrap().id;
    let run = async |text| script(&driver, &id, text).await;
    let fill = "head -c 20971520 /dev/zero >/big";
    assert_ne!(run(fill).await.0, 0);
    let limits = config().resources.disk(32);
    driver.update_resources(&id, &limits).await.unwrap();
    assert_eq!(run(fill).await, (0, String::new()));
    let held = driver.get_container(&id).await.unwrap().unwrap().resources;
    assert_eq!(held, limits);
    // Less than there is: nothing more can be written.
    driver.update_resources(&id, &limits.disk(8)).await.unwrap();
    assert_ne!(run("head -c 65536 /dev/zero >/more").await.0, 0);
    driver.force_remove(&id).await.unwrap();
}

#[tokio::test]
async fn a_quota_ends_with_its_container() {
    let state = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (driver, beside) = (open(state.path()), open(other.path()));
    if !can_run(&driver).await {
        return;
    }
    let id = driver.run_container(&config()).await.unwrap().id;
    let twin = beside.create_container(&config()).await.unwrap().id;
    let project = Project::of(&disk(state.path(), &id));
    let another = Project::of(&disk(other.path(), &twin));
    assert_ne!(project.id, another.id);
    project.becomes_known(true).await;
    another.becomes_known(true).await;
    assert_eq!(script(&driver, &id, "echo kept >/kept").await.0, 0);
    driver.force_remove(&id).await.unwrap();
    project.becomes_known(false).await;
    another.becomes_known(true).await;

    // As it is when the maker dies just before its last step.
    drop(beside);
    let containers = other.path().join("containers");
    fs::rename(containers.join(&twin), containers.join(format!(".new-{twin}"))).unwrap();
    open(other.path()).recover().await.unwrap();
    another.becomes_known(false).await;
}
