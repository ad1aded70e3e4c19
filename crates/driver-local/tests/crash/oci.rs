//! An image as registries and archives have it, and a registry that has this one, on the loopback interface.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::digest::digest;

/// Its name in a registry, and in an archive.
const NAME: &str = "crash/oci";
const TAG: &str = "1";

/// The blobs of an image with one layer.
pub(crate) struct Oci {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Oci {
    pub(crate) fn new(layer: &[u8]) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        Self {
            layer: layer.to_vec(),
            config,
            manifest: manifest.to_string().into_bytes(),
        }
    }

    /// The reference at a registry.
    pub(crate) fn reference(registry: &str) -> String {
        format!("{registry}/{NAME}:{TAG}")
    }

    /// An OCI image layout in a tar.
    pub(crate) fn archive(&self) -> Bytes {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &self.manifest);
        entry["annotations"] = json!({"io.containerd.image.name": format!("{NAME}:{TAG}")});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice(),
            ),
            ("index.json".to_owned(), index.as_bytes()),
        ];
        for blob in [&self.layer, &self.config, &self.manifest] {
            files.push((format!("blobs/{}", digest(blob).replace(':', "/")), blob));
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        }
        tar.into_inner().unwrap().into()
    }

    /// Serves the image until this process ends, and gives the registry's address.
    pub(crate) fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that was killed does not want the answer.
                let _ = self.answer(client);
            }
        });
        address
    }

    fn answer(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let manifest = (&self.manifest, "application/vnd.oci.image.manifest.v1+json");
        let found = match path.rsplit('/').next().unwrap_or_default() {
            _ if path == "/v2/" => Some((&Vec::new(), "application/json")),
            TAG => Some(manifest),
            name if name == digest(&self.manifest) => Some(manifest),
            name => [&self.layer, &self.config]
                .into_iter()
                .find(|blob| digest(blob) == name)
                .map(|blob| (blob, "application/octet-stream")),
        };
        let Some((body, kind)) = found else {
            return client
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let digest = digest(body);
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nDocker-Content-Digest: {digest}\r\nConnection: close\r\n\r\n"
        )?;
        match method {
            "HEAD" => Ok(()),
            _ => client.write_all(body),
        }
    }
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(content), "size": content.len()})
}
