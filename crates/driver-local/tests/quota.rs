//! A writable root under a project quota: what a container can do against its limit, and that nothing of it outlives the
//! container. On ext4 skipped where the directory for temporary files has no project quotas, on XFS where none can be made in
//! it; `cargo xtask test --vm` has both.

#![allow(clippy::unwrap_used)]

#[path = "common/disk.rs"]
mod fixture;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use driver_local::{DiskBackend, LocalDriver};
use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, ExecSpec, ResourceLimits};
use rstest::rstest;

const MIB: u64 = ResourceLimits::MIB;

fn open(state: &Path) -> LocalDriver {
    fixture::open(state, DiskBackend::Quota)
}

async fn can_run(driver: &LocalDriver) -> bool {
    fixture::lack(driver).await.is_none_or(skip)
}

/// `false`, unless this machine must have them.
fn skip(lack: String) -> bool {
    assert!(std::env::var_os("DRIVER_REQUIRE_QUOTA").is_none(), "{lack}");
    println!("skipped: {lack}");
    false
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// That of the directory for temporary files.
    Ext4,
    Xfs,
}

/// Where state directories are.
struct Place {
    kind: Kind,
    directory: tempfile::TempDir,
}

impl Place {
    /// `None`, with the reason printed: there is no such file system to be had.
    fn of(kind: Kind) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { kind, directory };
        let made = match kind {
            Kind::Ext4 => Ok(()),
            Kind::Xfs => place.mount_xfs(),
        };
        made.map_or_else(skip, |()| true).then_some(place)
    }

    fn mount_xfs(&self) -> Result<(), String> {
        let image = self.directory.path().join("image");
        // The least that mkfs.xfs takes; room that is not written is not taken.
        fs::File::create(&image).unwrap().set_len(300 * MIB).unwrap();
        fs::create_dir(self.path()).unwrap();
        run(Command::new("mkfs.xfs").arg("-q").arg(&image))?;
        let options = ["-t", "xfs", "-o", "loop,prjquota"];
        run(Command::new("mount").args(options).arg(image).arg(self.path()))
    }

    fn path(&self) -> PathBuf {
        match self.kind {
            Kind::Ext4 => self.directory.path().to_owned(),
            Kind::Xfs => self.directory.path().join("mounted"),
        }
    }

    fn state(&self, name: &str) -> PathBuf {
        let state = self.path().join(name);
        fs::create_dir(&state).unwrap();
        state
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Xfs) {
            // Lazily: a driver's processes end a moment after it. Not mounted where it could not be made.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{command:?}: {told}"))
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

/// What the kernel keeps of a project, as the tools of its file system list it.
struct Project {
    id: String,
    kind: Kind,
    /// The device of ext4, where XFS is mounted.
    place: PathBuf,
}

impl Project {
    /// That of a container's layer.
    fn of(place: &Place, disk: &Path) -> Self {
        let listed = Command::new("lsattr")
            .args(["-p", "-d"])
            .arg(disk)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        Self {
            id: listed.split_whitespace().next().unwrap().to_owned(),
            kind: place.kind,
            place: match place.kind {
                Kind::Ext4 => device_of(disk),
                Kind::Xfs => place.path(),
            },
        }
    }

    /// `None` where the list could not be read: the file system that changes meanwhile.
    fn known(&self) -> Option<bool> {
        let list = match self.kind {
            Kind::Ext4 => Command::new("debugfs")
                .args(["-R", "list_quota project"])
                .arg(&self.place)
                .output(),
            Kind::Xfs => Command::new("xfs_quota")
                .args(["-x", "-c", "report -p -n -b -i"])
                .arg(&self.place)
                .output(),
        };
        let listed = list.unwrap().stdout;
        let listed = String::from_utf8_lossy(&listed);
        let is_it = |line: &str| {
            let first = line.split_whitespace().next();
            first.is_some_and(|word| word.trim_start_matches('#') == self.id)
        };
        // The head of the list.
        let is_read = listed.contains("limit") || listed.contains("Hard");
        is_read.then(|| listed.lines().any(is_it))
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

fn device_of(file: &Path) -> PathBuf {
    let device = rustix::fs::stat(file).unwrap().st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).unwrap();
    Path::new("/dev").join(device.file_name().unwrap())
}

#[rstest]
#[case::ext4(Kind::Ext4)]
#[case::xfs(Kind::Xfs)]
#[tokio::test]
async fn a_container_cannot_pass_its_quota(#[case] kind: Kind) {
    let Some(place) = Place::of(kind) else { return };
    let driver = open(&place.state("state"));
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

#[rstest]
#[case::ext4(Kind::Ext4)]
#[case::xfs(Kind::Xfs)]
#[tokio::test]
async fn a_quota_is_changed_while_the_container_runs(#[case] kind: Kind) {
    let Some(place) = Place::of(kind) else { return };
    let driver = open(&place.state("state"));
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

#[rstest]
#[case::ext4(Kind::Ext4)]
#[case::xfs(Kind::Xfs)]
#[tokio::test]
async fn a_quota_ends_with_its_container(#[case] kind: Kind) {
    let Some(place) = Place::of(kind) else { return };
    let (state, other) = (place.state("state"), place.state("other"));
    let (driver, beside) = (open(&state), open(&other));
    if !can_run(&driver).await {
        return;
    }
    let id = driver.run_container(&config()).await.unwrap().id;
    let twin = beside.create_container(&config()).await.unwrap().id;
    let project = Project::of(&place, &disk(&state, &id));
    let another = Project::of(&place, &disk(&other, &twin));
    assert_ne!(project.id, another.id);
    project.becomes_known(true).await;
    another.becomes_known(true).await;
    assert_eq!(script(&driver, &id, "echo kept >/kept").await.0, 0);
    driver.force_remove(&id).await.unwrap();
    project.becomes_known(false).await;
    another.becomes_known(true).await;

    // As it is when the maker dies just before its last step.
    drop(beside);
    let containers = other.join("containers");
    fs::rename(containers.join(&twin), containers.join(format!(".new-{twin}"))).unwrap();
    open(&other).recover().await.unwrap();
    another.becomes_known(false).await;
}
