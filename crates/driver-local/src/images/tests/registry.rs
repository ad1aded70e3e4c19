//! Images in a registry on the loopback interface.

use driver_conformance::LoopbackRegistry;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::{Client, Reference, RegistryOperation, secrets};
use serde_json::{Value, json};

use super::super::source::digest_of;
use super::*;

pub(super) struct Registry(pub(super) LoopbackRegistry);

impl Registry {
    /// `None`, with the reason printed: it is not installed.
    pub(super) fn start(auth: bool) -> Option<Self> {
        // The bcrypt of `U*U`: a vector of its inventors.
        let users = "user:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
        let started = LoopbackRegistry::start(auth.then_some(users), None);
        let started = started.inspect_err(|reason| eprintln!("skipped: {reason}"));
        started.ok().map(Self)
    }

    pub(super) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.0.address())
    }

    async fn client(&self) -> Client {
        super::super::pull::choose_cryptography();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let reference: Reference = self.reference("any").parse().unwrap();
        let auth = secrets::RegistryAuth::Basic("user".into(), "U*U".into());
        client
            .auth(&reference, &auth, RegistryOperation::Push)
            .await
            .unwrap();
        client.store_auth_if_needed(self.0.address(), &auth).await;
        client
    }

    pub(super) async fn blob(&self, name: &str, content: &[u8]) -> Value {
        let digest = format!("sha256:{}", digest_of(content));
        let reference = self.reference(name).parse().unwrap();
        self.client()
            .await
            .push_blob(&reference, content.to_vec(), &digest)
            .await
            .unwrap();
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": content.len()})
    }

    pub(super) async fn manifest(&self, name: &str, kind: &str, document: Value) -> Value {
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        let mut document = document;
        document["schemaVersion"] = json!(2);
        document["mediaType"] = json!(kind);
        let content = document.to_string().into_bytes();
        let (digest, size) = (format!("sha256:{}", digest_of(&content)), content.len());
        let reference: Reference = self.reference(name).parse().unwrap();
        let client = self.client().await;
        client
            .push_manifest_raw(&reference, content, kind.parse().unwrap())
            .await
            .unwrap();
        json!({"mediaType": kind, "digest": digest, "size": size})
    }

    /// Pushes an image; each layer has a file of this name. Returns the descriptor of its manifest.
    pub(super) async fn push(&self, name: &str, architecture: &str, layers: &[&str]) -> Value {
        let tars: Vec<Vec<u8>> = layers
            .iter()
            .map(|layer| Tar::new().file(layer, "x").end())
            .collect();
        let digests: Vec<_> = tars
            .iter()
            .map(|tar| format!("sha256:{}", digest_of(tar)))
            .collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["c"]},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let mut config = self.blob(name, config.to_string().as_bytes()).await;
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut blobs = Vec::new();
        for tar in &tars {
            blobs.push(self.blob(name, &gzip(tar)).await);
        }
        let mut descriptor = self
            .manifest(name, "manifest", json!({"config": config, "layers": blobs}))
            .await;
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}
