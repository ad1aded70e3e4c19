//! A real registry for pulls: Debian's `docker-registry` on the loopback interface, as a child of the test program.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::factory::{Registry, Unavailable};

const PROGRAM: &str = "docker-registry";

/// What the suite pulls, and what it does not find.
const IMAGE: (&str, &str) = ("conformance/small", "1");
const MISSING: &str = "conformance/missing:1";

/// A registry that ends when this value is dropped. It speaks plain HTTP, as drivers allow on loopback.
#[derive(Debug)]
pub struct LoopbackRegistry {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl LoopbackRegistry {
    /// Starts one on a free port.
    ///
    /// - `htpasswd`: the users, one a line with bcrypt as `htpasswd -B` writes it; without it everybody may push and pull.
    /// - `namespace`: the named network namespace whose loopback it listens on, where the engine has one of its own.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where the program is not installed or does not start.
    pub fn start(htpasswd: Option<&str>, namespace: Option<&str>) -> Result<Self, Unavailable> {
        let failed = |error: &dyn std::fmt::Display| {
            Unavailable(format!(
                "{PROGRAM} cannot be started: {error} (Debian: apt-get install docker-registry)"
            ))
        };
        let directory = tempfile::tempdir().map_err(|error| failed(&error))?;
        let config = configure(directory.path(), htpasswd).map_err(|error| failed(&error))?;
        let mut command = command(namespace);
        command.arg("serve").arg(config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed(&error))?;
        match address(&mut process) {
            Some(address) => Ok(Self {
                process,
                address,
                directory,
            }),
            None => {
                let ended = process.wait().map_err(|error| failed(&error))?;
                Err(failed(&ended))
            }
        }
    }

    /// Starts one for [`DriverFactory::registry`](crate::DriverFactory::registry), with the image of [`suite`](Self::suite).
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    pub fn for_suite(namespace: Option<&str>) -> Result<Self, Unavailable> {
        let registry = Self::start(None, namespace)?;
        let (name, tag) = IMAGE;
        registry
            .put_image(name, tag)
            .map_err(|error| Unavailable(format!("the registry cannot be filled: {error}")))?;
        Ok(registry)
    }

    /// The references for the cases, where it was started by [`for_suite`](Self::for_suite).
    pub fn suite(&self) -> Registry {
        let (name, tag) = IMAGE;
        Registry {
            image: format!("{}/{name}:{tag}", self.address),
            missing: format!("{}/{MISSING}", self.address),
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The file in which it keeps the blob with this digest (hexadecimal).
    pub fn blob(&self, digest: &str) -> PathBuf {
        let beginning = digest.get(..2).unwrap_or(digest);
        self.storage()
            .join("blobs/sha256")
            .join(beginning)
            .join(digest)
            .join("data")
    }

    fn storage(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2")
    }

    /// Puts an OCI image with one file, unlike that of any other process, into its storage: so nothing but the
    /// driver under test talks to it.
    fn put_image(&self, name: &str, tag: &str) -> io::Result<()> {
        let layer = layer()?;
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": {"Cmd": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = self.put_blob(name, "config.v1+json", config.to_string().as_bytes())?;
        let layer = self.put_blob(name, "layer.v1.tar", &layer)?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let manifest = manifest.to_string();
        let digest = digest(manifest.as_bytes());
        let hexadecimal = digest.trim_start_matches("sha256:");
        write(&self.blob(hexadecimal), manifest.as_bytes())?;
        let manifests = self.storage().join("repositories").join(name).join("_manifests");
        for link in [
            format!("revisions/sha256/{hexadecimal}"),
            format!("tags/{tag}/current"),
            format!("tags/{tag}/index/sha256/{hexadecimal}"),
        ] {
            write(&manifests.join(link).join("link"), digest.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the descriptor.
    fn put_blob(&self, name: &str, kind: &str, content: &[u8]) -> io::Result<Value> {
        let digest = digest(content);
        let hexadecimal = digest.trim_start_matches("sha256:");
        write(&self.blob(hexadecimal), content)?;
        let layers = self
            .storage()
            .join("repositories")
            .join(name)
            .join("_layers/sha256");
        write(&layers.join(hexadecimal).join("link"), digest.as_bytes())?;
        let kind = format!("application/vnd.oci.image.{kind}");
        Ok(json!({"mediaType": kind, "digest": digest, "size": content.len()}))
    }
}

impl Drop for LoopbackRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(namespace: Option<&str>) -> Command {
    let Some(namespace) = namespace else {
        return Command::new(PROGRAM);
    };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(PROGRAM);
    command
}

/// Writes the files that it starts from.
fn configure(directory: &Path, htpasswd: Option<&str>) -> io::Result<PathBuf> {
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "info"},
        "http": {"addr": "127.0.0.1:0"},
        "storage": {"filesystem": {"rootdirectory": directory.join("data")}},
    });
    if let Some(users) = htpasswd {
        let path = directory.join("htpasswd");
        fs::write(&path, users)?;
        config["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
    }
    // JSON is YAML.
    let path = directory.join("config.yml");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Where it listens, told by its log; `None`: it ended.
fn address(process: &mut Child) -> Option<String> {
    let mut log = BufReader::new(process.stderr.take()?).lines();
    let address = log.by_ref().map_while(io::Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(rest.split(['"', ',']).next()?.to_owned())
    });
    // A program whose stderr is closed would end with its next line.
    std::thread::spawn(move || log.for_each(drop));
    address
}

fn layer() -> io::Result<Vec<u8>> {
    let content = format!("filled by process {}", std::process::id());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "origin", content.as_bytes())?;
    archive.into_inner()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

/// This machine's, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
