//! Pulling from a registry, by the distribution protocol of the OCI. Registries are asked by HTTPS; by HTTP only those on
//! the loopback interface.

use std::fs::File;
use std::io::{Seek, Write};
use std::net::IpAddr;
use std::time::Duration;

use driver_types::{
    BoxStream, DriverError, ErrorKind, Image, PullProgress, PullRequest, RegistryAuth, Result,
};
use driver_validation::{ImageReference, validate_pull_request};
use futures_util::{StreamExt, TryStreamExt, stream};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth as Credentials;
use oci_client::{Client, Reference};
use secrecy::ExposeSecret;

use super::config::ImageConfig;
use super::flight::Progress;
use super::layers::{Draft, Made};
use super::oci::{Descriptor, Document, MAX_DOCUMENT, Manifest, checked, for_this_machine};
use super::store::{HOST, ImageStore, broken_store};

/// A registry that says nothing for so long has failed. A pull as a whole may take any time.
const IDLE: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(20);

/// Layers that are fetched at once.
const PARALLEL: usize = 3;

/// Manifests and indexes, of the OCI and of Docker.
const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

impl ImageStore {
    /// Pulls an image; the last item has it. Calls for one reference with the same credentials at the same time are done
    /// once. Needs a tokio runtime. The pull is given up when all its streams are dropped.
    ///
    /// # Errors
    ///
    /// At once: a configuration error for a broken request, `IMAGE_NOT_FOUND` for an id. In the stream: `IMAGE_NOT_FOUND`
    /// where the registry does not have it, an authentication error, and `IMAGE_PULL_FAILED`, which is retryable where the
    /// registry could not be reached, gave up, or sent damaged content.
    pub(crate) fn pull(&self, request: &PullRequest) -> Result<BoxStream<PullProgress>> {
        validate_pull_request(request)?;
        let reference: ImageReference = request.reference.parse()?;
        if reference.is_image_id() || reference.name() == HOST {
            let reason = "it names an image that is here or is not; only names of a registry are pulled";
            return Err(DriverError::image_not_found(&request.reference).with_context("reason", reason));
        }
        let (store, auth) = (self.clone(), request.auth.clone());
        Ok(self
            .pulls
            .join(&reference.normalized(), request.auth.as_ref(), |progress| {
                let reference = reference.clone();
                async move {
                    let pull = Pull::new(store, reference, auth.as_ref(), progress)?;
                    pull.run().await
                }
            }))
    }
}

struct Pull {
    store: ImageStore,
    reference: ImageReference,
    remote: Reference,
    client: Client,
    credentials: Credentials,
    progress: Progress,
}

impl Pull {
    fn new(
        store: ImageStore,
        reference: ImageReference,
        auth: Option<&RegistryAuth>,
        progress: Progress,
    ) -> Result<Self> {
        let broken =
            |error: &dyn std::fmt::Display| DriverError::image_pull(reference.as_str(), error.to_string());
        let remote: Reference = reference
            .normalized()
            .parse()
            .map_err(|error| broken(&error).permanent())?;
        let client = client(reference.registry()).map_err(|error| broken(&error))?;
        let credentials = auth.map_or(Credentials::Anonymous, |auth| {
            Credentials::Basic(auth.username.clone(), auth.password.expose_secret().to_owned())
        });
        Ok(Self {
            store,
            reference,
            remote,
            client,
            credentials,
            progress,
        })
    }

    async fn run(&self) -> Result<Image> {
        self.progress.tell("resolving", None, None);
        let manifest = self.manifest().await?;
        let config = self.document(&manifest.config).await?;
        let parsed = ImageConfig::parse(&config).map_err(|error| self.unfit(error))?;
        parsed
            .check(manifest.layers.len())
            .map_err(|error| self.unfit(error))?;
        let digests = parsed.digests().map_err(|error| self.unfit(error))?;
        let mut layers = Vec::new();
        for (position, (digest, layer)) in digests.iter().zip(&manifest.layers).enumerate() {
            if !digests[..position].contains(digest) {
                layers.push(self.layer(digest, layer));
            }
        }
        let made: Vec<Option<Made>> = stream::iter(layers).buffered(PARALLEL).try_collect().await?;
        let (store, reference) = (self.store.clone(), self.reference.clone());
        blocking(move || {
            let made: Vec<Made> = made.into_iter().flatten().collect();
            store.add(&[reference], &config, &made)
        })
        .await
    }

    /// The manifest of the image for this machine.
    async fn manifest(&self) -> Result<Manifest> {
        // The library compares the digest of the reference, where it has one.
        let document =
            Document::parse(&self.raw_manifest(&self.remote).await?).map_err(|error| self.unfit(error))?;
        let manifest = match &document.manifests {
            None => document.manifest(),
            Some(manifests) => {
                let chosen = for_this_machine(manifests).map_err(|error| self.unfit(error))?;
                let remote = self.remote.clone_with_digest(chosen.digest.clone());
                let json = self.raw_manifest(&remote).await?;
                checked(chosen, json).and_then(|json| Document::parse(&json)?.manifest())
            }
        };
        manifest.map_err(|error| self.unfit(error))
    }

    async fn raw_manifest(&self, remote: &Reference) -> Result<Vec<u8>> {
        let pulled = self
            .client
            .pull_manifest_raw(remote, &self.credentials, &ACCEPTED)
            .await;
        let (json, _) = pulled.map_err(|error| self.failed(error))?;
        Ok(json.into())
    }

    /// A small blob.
    async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > MAX_DOCUMENT {
            let message = format!("its config has more than {MAX_DOCUMENT} bytes");
            return Err(self.unfit(DriverError::file_system(message)));
        }
        let mut content = Vec::new();
        self.blob(descriptor, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        checked(descriptor, content).map_err(|error| self.unfit(error))
    }

    /// A layer, unpacked; `None`: it is here already.
    async fn layer(&self, digest: &str, descriptor: &Descriptor) -> Result<Option<Made>> {
        let name = descriptor.digest.get(..19).unwrap_or(&descriptor.digest);
        if self.store.has_layer(digest) {
            self.progress.tell("already here", Some(name), None);
            return Ok(None);
        }
        if descriptor.size > self.store.limits.bytes {
            let message = format!("a layer has more than {} bytes", self.store.limits.bytes);
            return Err(self.unfit(DriverError::file_system(message)));
        }
        let (draft, mut file) = self.download_file()?;
        let mut done = 0;
        self.blob(descriptor, |piece| {
            done += piece.len() as u64;
            self.progress
                .tell("downloading", Some(name), Some((done, descriptor.size)));
            file.write_all(piece).map_err(broken_store)
        })
        .await?;
        self.progress.tell("unpacking", Some(name), None);
        let (store, digest) = (self.store.clone(), digest.to_owned());
        let made = blocking(move || {
            file.rewind().map_err(broken_store)?;
            let made = store.layer_with(&digest, &file);
            drop(draft);
            made
        });
        made.await.map(Some).map_err(|error| self.unfit(error))
    }

    fn download_file(&self) -> Result<(Draft, File)> {
        let draft = Draft::new(&self.store).map_err(broken_store)?;
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(draft.path().join("blob"));
        Ok((draft, file.map_err(broken_store)?))
    }

    /// Streams a blob, whose digest and size are those of the descriptor when this succeeds.
    async fn blob(&self, descriptor: &Descriptor, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let wanted = OciDescriptor {
            digest: descriptor.digest.clone(),
            size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
            media_type: descriptor.media_type.clone(),
            ..OciDescriptor::default()
        };
        let damaged = |why: &dyn std::fmt::Display| {
            let message = format!("blob {}: {why}", descriptor.digest);
            DriverError::image_pull(self.reference.as_str(), message)
        };
        let blob = self.client.pull_blob_stream(&self.remote, &wanted).await;
        let mut blob = blob.map_err(|error| self.failed(error))?;
        let mut left = descriptor.size;
        while let Some(piece) = blob.next().await {
            let piece = piece.map_err(|error| damaged(&error).with_source(error))?;
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| damaged(&"it is longer than its descriptor says"))?;
            take(&piece)?;
        }
        match left {
            0 => Ok(()),
            _ => Err(damaged(&"it is shorter than its descriptor says")),
        }
    }

    /// What the registry has is no image that can be used here; another attempt gets the same.
    fn unfit(&self, error: DriverError) -> DriverError {
        let message = match error.kind() {
            ErrorKind::FileSystem { message } => message.clone(),
            _ => error.to_string(),
        };
        DriverError::image_pull(self.reference.as_str(), message)
            .permanent()
            .with_source(error)
    }

    fn failed(&self, error: OciDistributionError) -> DriverError {
        let reference = self.reference.as_str();
        let has = |codes: &[OciErrorCode]| match &error {
            OciDistributionError::RegistryError { envelope, .. } => {
                envelope.errors.iter().any(|error| codes.contains(&error.code))
            }
            _ => false,
        };
        let unknown = [
            OciErrorCode::ManifestUnknown,
            OciErrorCode::NameUnknown,
            OciErrorCode::NotFound,
        ];
        let denied = [OciErrorCode::Unauthorized, OciErrorCode::Denied];
        let message = error.to_string();
        let typed = match &error {
            OciDistributionError::ServerError { code: 404, .. }
            | OciDistributionError::ImageManifestNotFoundError(_) => DriverError::image_not_found(reference),
            _ if has(&unknown) => DriverError::image_not_found(reference),
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => self.refused(),
            _ if has(&denied) => self.refused(),
            OciDistributionError::ServerError { code, .. } => {
                DriverError::image_pull(reference, message).with_retryable(*code == 429 || *code >= 500)
            }
            OciDistributionError::RequestError(request) => {
                let message = causes(request);
                DriverError::image_pull(reference, message).with_retryable(!request.is_builder())
            }
            OciDistributionError::IoError(_) => DriverError::image_pull(reference, message),
            _ => {
                let retryable = has(&[OciErrorCode::Toomanyrequests]);
                DriverError::image_pull(reference, message).with_retryable(retryable)
            }
        };
        typed.with_source(error)
    }

    fn refused(&self) -> DriverError {
        let what = match self.credentials {
            Credentials::Anonymous => "wants credentials",
            _ => "does not accept these credentials",
        };
        let registry = self.reference.registry();
        DriverError::authentication(format!("the registry {registry} {what} for {}", self.reference))
    }
}

/// The text of an error with those of its sources: that of the library alone does not tell why.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Chooses who does the cryptography of TLS in this process, if nobody did.
pub(super) fn choose_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, with whatever it likes better.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn client(registry: &str) -> Result<Client, OciDistributionError> {
    choose_cryptography();
    let protocol = match is_loopback(registry) {
        true => ClientProtocol::Http,
        false => ClientProtocol::Https,
    };
    Client::try_from(ClientConfig {
        protocol,
        platform_resolver: None,
        read_timeout: Some(IDLE),
        connect_timeout: Some(CONNECT),
        user_agent: concat!("driver-local/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(DriverError::internal(format!(
            "the unpacking ended early: {error}"
        )))
    })
}
