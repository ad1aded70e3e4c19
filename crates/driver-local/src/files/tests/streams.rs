//! The streams of a copy.

use std::os::unix::fs::FileTypeExt;

use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_error_is_told_as_it_is() {
    let fixture = Fixture::new();
    let items = [
        Ok(Bytes::from(file("x", b"1"))),
        Err(DriverError::network("the caller's")),
    ];
    let reader = StreamReader::new(Box::pin(stream::iter(items)));
    let error = tokio::task::spawn_blocking(move || fixture.copy_of(reader))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.code(), DriverError::network("").code());
    assert!(error.to_string().contains("the caller's"), "{error}");
}

impl Fixture {
    fn copy_of(&self, reader: StreamReader) -> Result<()> {
        unpack(&self.root, "/work", reader)
    }
}

/// A file of 64 GiB, of which little is read: neither is it in memory, nor goes the packing on.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_the_packing() {
    let fixture = Fixture::new();
    let large = fs::File::create(fixture.path("large")).unwrap();
    large.set_len(64 << 30).unwrap();
    let found = Source::look(&fixture.root, "/large", None).unwrap();
    let (held, released) = oneshot::channel::<()>();
    let mut stream = packed(found, "/large".to_owned(), held);
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.len() <= PIECE, "{}", first.len());
    drop(stream);
    assert!(released.await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_whole_and_a_fifo_does_not_stop_it() {
    let fixture = Fixture::new();
    let path = fixture.path("work");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(path.join("large"), vec![9; 3_000_000]).unwrap();
    assert!(
        fs::symlink_metadata(path.join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    let found = Source::look(&fixture.root, "/work", None).unwrap();
    let pieces: Vec<_> = packed(found, "/work".to_owned(), ()).collect().await;
    let tar: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap()).collect();
    assert_eq!(tar, fixture.copy_from("/work").unwrap());
}
