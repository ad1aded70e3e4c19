//! Archives of images.

use rstest::rstest;
use serde_json::{Value, json};

use super::super::config::architecture;
use super::super::source::digest_of;
use super::*;

fn layer(name: &str) -> Vec<u8> {
    Tar::new().file(name, name).end()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

fn config(architecture: &str, layers: &[&[u8]]) -> Vec<u8> {
    let digests: Vec<_> = layers
        .iter()
        .map(|layer| format!("sha256:{}", digest_of(layer)))
        .collect();
    json!({
        "architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {
            "Env": ["A=1"], "Cmd": ["c"], "Entrypoint": null, "WorkingDir": "", "Labels": null, "User": "root",
            "StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD", "t"], "Interval": 5_000_000_000_u64},
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created_by": "x"}],
    })
    .to_string()
    .into_bytes()
}

/// An OCI image layout that is being packed.
#[derive(Default)]
struct Oci {
    tar: Tar,
}

impl Oci {
    fn blob(&mut self, content: &[u8]) -> Value {
        let digest = digest_of(content);
        let tar = std::mem::take(&mut self.tar);
        self.tar = tar.entry(EntryType::Regular, format!("blobs/sha256/{digest}"), "", content);
        json!({"mediaType": "application/octet-stream", "digest": format!("sha256:{digest}"), "size": content.len()})
    }

    /// The descriptor of a manifest, with its platform.
    fn image(&mut self, architecture: &str, layers: &[&[u8]]) -> Value {
        let config = self.blob(&config(architecture, layers));
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(&gzip(layer))).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let mut descriptor = self.blob(manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    fn end(self, manifests: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.tar
            .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", &index.to_string())
            .end()
    }
}

fn named(mut descriptor: Value, key: &str, name: &str) -> Value {
    descriptor["annotations"] = json!({key: name});
    descriptor
}

fn read(store: &ImageStore, id: &str) -> Vec<Vec<String>> {
    let spec = store.resolve(id).unwrap().unwrap();
    spec.layers.iter().map(|layer| names(Path::new(layer))).collect()
}

#[rstest]
#[case(
    "io.containerd.image.name",
    "docker.io/library/a:1",
    Some("docker.io/library/a:1")
)]
#[case("org.opencontainers.image.ref.name", "a:1", Some("a:1"))]
#[case("unknown", "a:1", None)]
fn an_oci_layout(#[case] key: &str, #[case] name: &str, #[case] reference: Option<&str>) {
    let fixture = Fixture::new();
    let mut oci = Oci::default();
    let other = oci.image("s390x", &[&layer("other")]);
    let mine = oci.image(architecture(), &[&layer("lower"), &layer("upper")]);
    let archive = oci.end(&[named(other, key, name), named(mine, key, name)]);
    let images = fixture.store.load(&gzip(&archive)[..]).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].references, reference.into_iter().collect::<Vec<_>>());
    assert_eq!(images[0].created_at, 1_704_164_645_000);
    assert_eq!(read(&fixture.store, &images[0].id), [["upper"], ["lower"]]);
    let spec = fixture.store.resolve(&images[0].id).unwrap().unwrap();
    assert_eq!(
        (spec.env, spec.command, spec.working_dir),
        (vec!["A=1".into()], vec!["c".into()], None)
    );
    assert_eq!(
        spec.stop_signal.map(|signal| signal.to_string()).as_deref(),
        Some("SIGQUIT")
    );
    let check = spec.healthcheck.unwrap();
    assert_eq!(
        (check.interval_ms, check.timeout_ms, check.retries),
        (5000, 30_000, 3)
    );
    assert!(names(&fixture.store.tmp()).is_empty());
}

#[test]
fn an_index_in_an_index() {
    let fixture = Fixture::new();
    let mut oci = Oci::default();
    let mine = oci.image(architecture(), &[&layer("x")]);
    let index = oci.blob(
        json!({"schemaVersion": 2, "manifests": [mine]})
            .to_string()
            .as_bytes(),
    );
    let images = fixture
        .store
        .load(&oci.end(&[named(index, NAME, "a:1")])[..])
        .unwrap();
    assert_eq!(images[0].references, ["a:1"]);
}

const NAME: &str = "org.opencontainers.image.ref.name";

/// As `docker save` wrote it before version 25: a layer that is there twice is a link.
fn saved(config: &[u8], layers: &[&[u8]]) -> Tar {
    let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1", "b:2"], "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]);
    Tar::new()
        .entry(EntryType::Regular, "c.json", "", config)
        .entry(EntryType::Regular, "1/layer.tar", "", layers[0])
        .entry(EntryType::Regular, "2/layer.tar", "", layers[1])
        .symlink("3/layer.tar", "../1/layer.tar")
        .file("manifest.json", &manifest.to_string())
}

#[test]
fn a_saved_image() {
    let fixture = Fixture::new();
    let (a, b) = (layer("a"), layer("b"));
    let archive = saved(&config(architecture(), &[&a, &b, &a]), &[&a, &b]).end();
    let images = fixture.store.load(&archive[..]).unwrap();
    assert_eq!(images[0].references, ["a:1", "b:2"]);
    // The same layer twice is one directory of the overlay.
    assert_eq!(read(&fixture.store, "b:2"), [["a"], ["b"]]);
    assert_eq!(fixture.store.load(&archive[..]).unwrap(), images);
}

#[rstest]
#[case::no_images(Tar::new().file("etc/passwd", "x").end(), "neither manifest.json nor index.json")]
#[case::empty_index(Oci::default().end(&[]), "has no images")]
#[case::fifo(Tar::new().entry(EntryType::Fifo, "manifest.json", "", b"").end(), "it is no file")]
#[case::link_out(Tar::new().symlink("manifest.json", "/etc/passwd").end(), "neither manifest.json nor index.json")]
#[case::other_layer(saved(&config(architecture(), &[&layer("a"), &layer("b"), &layer("a")]), &[&layer("a"), &layer("evil")]).end(), "damaged or changed")]
#[case::fewer_layers(saved(&config(architecture(), &[&layer("a")]), &[&layer("a"), &layer("b")]).end(), "its config tells of 1")]
#[case::other_machine(saved(&config("s390x", &[]), &[&layer("a"), &layer("b")]).end(), "linux/s390x")]
#[case::digest_is_a_path(saved(br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:../../x","a","b"]}}"#, &[&layer("a"), &layer("b")]).end(), "no digest")]
#[case::missing_blob(Oci::default().end(&[json!({"digest": format!("sha256:{}", "0".repeat(64)), "size": 1})]), "No such file")]
fn refused(#[case] archive: Vec<u8>, #[case] why: &str) {
    let fixture = Fixture::new();
    let error = fixture.store.load(&archive[..]).unwrap_err();
    assert_eq!(error.code(), "FILE_SYSTEM_ERROR");
    assert!(error.to_string().contains(why), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_damaged_manifest() {
    let fixture = Fixture::new();
    let mut oci = Oci::default();
    let mut image = oci.image(architecture(), &[&layer("x")]);
    let other = oci.blob(b"{}");
    // The bytes are there under a digest that they do not have.
    let path = format!("blobs/{}", image["digest"].as_str().unwrap().replace(':', "/"));
    oci.tar = oci.tar.entry(EntryType::Regular, path, "", b"{\"config\":null}");
    image["size"] = json!(15);
    let error = fixture.store.load(&oci.end(&[image, other])[..]).unwrap_err();
    assert!(error.to_string().contains("damaged or changed"), "{error}");
}
