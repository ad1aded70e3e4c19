//! References, ids, removal; several processes at once.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use driver_types::DriverError;
use rstest::rstest;

use super::*;

fn tar(content: &str) -> Vec<u8> {
    Tar::new().file("x", content).end()
}

fn nobody(_: &str) -> Result<Option<String>> {
    Ok(None)
}

#[rstest]
#[case("name", "name")]
#[case("name", "name:latest")]
#[case("name:latest", "docker.io/library/name")]
#[case("team/name:1", "docker.io/team/name:1")]
#[case("localhost:5000/name", "localhost:5000/name:latest")]
fn references(#[case] imported: &str, #[case] asked: &str) {
    let fixture = Fixture::new();
    let image = fixture
        .store
        .import(&ImportOptions::new(imported), &tar("x")[..])
        .unwrap();
    assert_eq!(fixture.store.get(asked).unwrap().unwrap(), image);
    assert_eq!(fixture.store.resolve(asked).unwrap().unwrap().id, Some(image.id));
    let written = if imported.ends_with("name") {
        format!("{imported}:latest")
    } else {
        imported.to_owned()
    };
    assert_eq!(image.references, [written]);
}

#[test]
fn ids() {
    let fixture = Fixture::new();
    let image = fixture.import(&tar("x")).unwrap();
    let digits = image.id.strip_prefix("sha256:").unwrap();
    for id in [&image.id, digits, &digits[..12], &image.id[..25]] {
        assert_eq!(fixture.store.get(id).unwrap().as_ref(), Some(&image), "{id}");
    }
    for other in ["", "unknown", &digits[..11], "sha256:", "../configs/x", "a b"] {
        assert_eq!(fixture.store.get(other).unwrap(), None, "{other}");
        assert!(fixture.store.resolve(other).unwrap().is_none(), "{other}");
    }
}

#[test]
fn defaults_and_labels() {
    let fixture = Fixture::new();
    let mut options = ImportOptions::new("a:1");
    options.entrypoint = vec!["/e".into()];
    options.command = vec!["c".into(), "d e".into()];
    options.env.insert("A".into(), "1=2".into());
    options.working_dir = Some("/w".into());
    options.labels.insert("k".into(), "v".into());
    let image = fixture.store.import(&options, &tar("x")[..]).unwrap();
    let spec = fixture.store.resolve("a:1").unwrap().unwrap();
    assert_eq!(image.labels, options.labels);
    assert_eq!(spec.labels, options.labels);
    assert_eq!(
        (spec.entrypoint, spec.command),
        (options.entrypoint, options.command)
    );
    assert_eq!(
        (spec.env, spec.working_dir),
        (vec!["A=1=2".to_owned()], options.working_dir)
    );
    assert!(image.created_at > 1_577_836_800_000);
}

#[rstest]
#[case("host")]
#[case("host:latest")]
#[case("UPPER")]
#[case("name@sha256:0000000000000000000000000000000000000000000000000000000000000000")]
fn references_that_no_image_can_take(#[case] reference: &str) {
    let fixture = Fixture::new();
    let error = fixture
        .store
        .import(&ImportOptions::new(reference), &tar("x")[..])
        .unwrap_err();
    assert_eq!(error.code(), "CONFIGURATION_ERROR");
    assert_eq!(error.violation_list()[0].pointer, "/reference");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_repeat_moves_the_reference_and_shares_the_layer() {
    let fixture = Fixture::new();
    let first = fixture.import(&tar("x")).unwrap();
    let mut options = ImportOptions::new("test/image:1");
    options.command = vec!["second".into()];
    let second = fixture.store.import(&options, &tar("x")[..]).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(fixture.store.get("test/image:1").unwrap().unwrap().id, second.id);
    let listed = fixture.store.list().unwrap();
    let references: HashSet<_> = listed
        .iter()
        .map(|image| (image.id.clone(), image.references.clone()))
        .collect();
    let expected = [
        (first.id.clone(), vec![]),
        (second.id.clone(), second.references.clone()),
    ];
    assert_eq!(references, HashSet::from(expected));
    assert_eq!(names(&fixture.store.dir().join("layers")).len(), 1);
    // The layer stays until nothing needs it.
    assert!(fixture.store.remove(&first.id, nobody).unwrap().is_empty());
    assert_eq!(names(&fixture.store.dir().join("layers")).len(), 1);
    assert_eq!(
        fixture.store.remove("test/image:1", nobody).unwrap(),
        ["test/image:1"]
    );
    assert!(fixture.left().is_empty());
}

#[test]
fn removal_by_reference_and_by_id() {
    let fixture = Fixture::new();
    let image = fixture.import(&tar("x")).unwrap();
    let config = fs::read(
        fixture
            .store
            .dir()
            .join("configs")
            .join(format!("{}.json", &image.id[7..])),
    )
    .unwrap();
    fixture
        .store
        .add(&["second:2".parse().unwrap()], &config, &[])
        .unwrap();
    assert_eq!(fixture.store.get(&image.id).unwrap().unwrap().references.len(), 2);
    assert_eq!(fixture.store.remove("second:2", nobody).unwrap(), ["second:2"]);
    assert!(fixture.store.get("second:2").unwrap().is_none());
    fixture
        .store
        .add(&["second:2".parse().unwrap()], &config, &[])
        .unwrap();
    let mut gone = fixture.store.remove(&image.id, nobody).unwrap();
    gone.sort();
    assert_eq!(gone, ["second:2", "test/image:1"]);
    assert!(fixture.left().is_empty());
    for reference in ["second:2", &image.id] {
        let error = fixture.store.remove(reference, nobody).unwrap_err();
        assert_eq!(error, DriverError::image_not_found(reference));
    }
}

#[test]
fn an_image_in_use_is_kept() {
    let fixture = Fixture::new();
    let image = fixture.import(&tar("x")).unwrap();
    let user = |id: &str| Ok((id == image.id).then(|| "my-container".to_owned()));
    for reference in ["test/image:1", &image.id] {
        let error = fixture.store.remove(reference, user).unwrap_err();
        assert_eq!(error.code(), "CONFIGURATION_ERROR");
        assert!(error.to_string().contains("my-container"), "{error}");
    }
    assert_eq!(fixture.store.get("test/image:1").unwrap(), Some(image));
}

/// A source that fails in its midst.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let whole = tar(&"x".repeat(100_000));
        match self.0 {
            at if at > 50_000 => Err(io::Error::other(DriverError::network("the caller hung up"))),
            at => {
                let count = buffer.len().min(whole.len() - at);
                buffer[..count].copy_from_slice(&whole[at..at + count]);
                self.0 += count;
                Ok(count)
            }
        }
    }
}

#[test]
fn an_error_of_the_caller_is_told_as_it_is() {
    let fixture = Fixture::new();
    let error = fixture
        .store
        .import(&ImportOptions::new("a"), Failing(0))
        .unwrap_err();
    assert_eq!(error, DriverError::network("the caller hung up"));
    assert!(fixture.left().is_empty());
}

#[rstest]
#[case(None)]
#[case(Some(DriverError::network("the caller hung up")))]
#[tokio::test]
async fn a_stream_of_the_caller(#[case] broken: Option<DriverError>) {
    let fixture = Fixture::new();
    let content = tar(&"x".repeat(100_000));
    let mut pieces: Vec<Result<::bytes::Bytes>> = content
        .chunks(777)
        .map(|piece| Ok(piece.to_vec().into()))
        .collect();
    pieces.insert(3, Ok(::bytes::Bytes::new()));
    if let Some(error) = &broken {
        pieces.insert(50, Err(error.clone()));
    }
    let reader = crate::tarball::StreamReader::new(Box::pin(futures_util::stream::iter(pieces)));
    let store = fixture.store.clone();
    let import = tokio::task::spawn_blocking(move || store.import(&ImportOptions::new("a"), reader));
    match (import.await.unwrap(), broken) {
        (Ok(image), None) => assert_eq!(image.size_bytes, 100_000),
        (Err(error), Some(broken)) => assert_eq!(error, broken),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn importers_of_one_reference_at_once() {
    let fixture = Fixture::new();
    let ids: Vec<String> = thread::scope(|scope| {
        let import = |number: usize| {
            let store = fixture.other();
            scope.spawn(move || {
                let mut options = ImportOptions::new("test/image:1");
                options.labels.insert("number".into(), number.to_string());
                // Two different layers, each by several.
                store
                    .import(&options, &tar(&(number % 2).to_string())[..])
                    .unwrap()
                    .id
            })
        };
        let threads: Vec<_> = (0..6).map(import).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winner = fixture.store.get("test/image:1").unwrap().unwrap();
    assert!(ids.contains(&winner.id));
    assert_eq!(fixture.store.list().unwrap().len(), 6);
    for id in &ids {
        let spec = fixture.store.resolve(id).unwrap().unwrap();
        fs::read_to_string(Path::new(&spec.layers[0]).join("x")).unwrap();
    }
    ids.iter()
        .for_each(|id| drop(fixture.store.remove(id, nobody).unwrap()));
    assert!(fixture.left().is_empty());
}

/// Importing and removing at once: an image that an importer was given is whole unless it was removed.
#[test]
fn an_importer_and_a_remover() {
    let fixture = Fixture::new();
    thread::scope(|scope| {
        let (importing, removing) = (fixture.other(), fixture.other());
        let importer = scope.spawn(move || {
            for _ in 0..30 {
                importing
                    .import(&ImportOptions::new("a:1"), &tar("same")[..])
                    .unwrap();
            }
        });
        while !importer.is_finished() {
            match removing.remove("a:1", nobody) {
                Err(error) if error.code() != "IMAGE_NOT_FOUND" => panic!("{error:?}"),
                _ => {}
            }
        }
    });
    fixture.import(&tar("same")).unwrap();
    for image in fixture.store.list().unwrap() {
        fixture.store.resolve(&image.id).unwrap().unwrap();
    }
    assert!(names(&fixture.store.tmp()).is_empty());
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_living_one_makes_is_not() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.store.tmp().join("dead/root/deep")).unwrap();
    fs::write(fixture.store.tmp().join("file"), "torn").unwrap();
    let living = super::super::layers::Draft::new(&fixture.store).unwrap();
    fixture.other();
    assert_eq!(names(&fixture.store.tmp()).len(), 1);
    assert!(living.path().exists());
    drop(living);
    assert!(names(&fixture.store.tmp()).is_empty());
}

#[test]
fn nobody_else_can_run_what_an_image_has() {
    let fixture = Fixture::new();
    let mode = fs::metadata(fixture.store.dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_missing_layer_is_told() {
    let fixture = Fixture::new();
    let image = fixture.import(&tar("x")).unwrap();
    let layers = fixture.store.dir().join("layers");
    fs::rename(
        layers.join(&names(&layers)[0]),
        fixture.directory.path().join("stolen"),
    )
    .unwrap();
    let error = fixture.store.resolve(&image.id).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    fixture.store.remove(&image.id, nobody).unwrap();
}
