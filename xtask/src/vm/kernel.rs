//! The kernel of the machine: Debian's, downloaded and unpacked, not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, output, run};

/// Depends on the current kernel. Not the one for clouds: that has no 9p.
const META_PACKAGE: &str = "linux-image-amd64";

/// A kernel with its modules.
pub(super) struct Kernel {
    /// The unpacked package.
    directory: PathBuf,
    /// As `uname -r` will say.
    pub(super) release: String,
}

impl Kernel {
    /// The one in this directory, which is made by downloading the current one.
    pub(super) fn in_directory(directory: &Path) -> Result<Self> {
        if !directory.exists() {
            download(directory)?;
        }
        let mut releases = fs::read_dir(directory.join("lib/modules"))?;
        let release = releases.next().ok_or("the kernel's package has no modules")??;
        Ok(Self {
            directory: directory.to_owned(),
            release: release.file_name().to_string_lossy().into_owned(),
        })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.directory.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// Of all releases.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules")
    }

    /// The files of these modules and of those that they need, in the order in which they can be loaded.
    pub(super) fn files_of(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for module in modules {
            let mut modprobe = Command::new("modprobe");
            modprobe.arg("--dirname").arg(&self.directory);
            modprobe.args(["--set-version", &self.release, "--show-depends", module]);
            for line in output(&mut modprobe)?.lines() {
                // `builtin NAME` needs no file.
                let file = line
                    .strip_prefix("insmod ")
                    .map(|file| PathBuf::from(file.trim()));
                files.extend(file.filter(|file| !files.contains(file)));
            }
        }
        Ok(files)
    }
}

/// All or nothing: what is unpacked gets its name at the end.
fn download(directory: &Path) -> Result {
    let package = current_package()?;
    println!("downloading {package}");
    let draft = directory.with_extension(format!("{}.draft", std::process::id()));
    fs::create_dir_all(&draft)?;
    let unpacked = unpack(&package, &draft);
    let done = unpacked.and_then(|()| Ok(fs::rename(&draft, directory)?));
    if done.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    done
}

/// The package that the current kernel is in.
fn current_package() -> Result<String> {
    let depends = output(Command::new("apt-cache").args(["depends", "--important", META_PACKAGE]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "));
    package
        .map(str::to_owned)
        .ok_or_else(|| format!("apt knows no {META_PACKAGE}; run apt-get update on a Debian of amd64").into())
}

fn unpack(package: &str, directory: &Path) -> Result {
    // Else apt wants its own user to write here.
    let as_this_user = ["-qq", "-o", "APT::Sandbox::User="];
    run(Command::new("apt-get")
        .args(as_this_user)
        .args(["download", package])
        .current_dir(directory))?;
    for file in fs::read_dir(directory)? {
        let file = file?.path();
        run(Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&file)
            .arg(directory))?;
        fs::remove_file(file)?;
    }
    for release in fs::read_dir(directory.join("lib/modules"))? {
        run(Command::new("depmod")
            .arg("--basedir")
            .arg(directory)
            .arg(release?.file_name()))?;
    }
    Ok(())
}
