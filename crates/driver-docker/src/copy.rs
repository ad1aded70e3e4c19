//! Files into and out of a container, as tar streams. The engine resolves paths inside the container's root, whether it
//! runs or not. What it cannot reach are tmpfs mounts: they exist only in the running container's own view.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use driver_types::{ByteStream, DriverError, Operation, Result};
use driver_validation::validate_path;
use futures_util::{StreamExt, TryStreamExt};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::{DRIVER_NAME, error};

/// A tar without entries: two empty blocks.
static EMPTY_ARCHIVE: [u8; 1024] = [0; 1024];

/// Unpacks a tar stream under a directory.
pub(crate) async fn copy_into(engine: &Arc<Engine>, id: &str, path: &str, archive: ByteStream) -> Result<()> {
    validate_path(path)?;
    let operation = Operation::CopyInto;
    let inspect = engine.inspect(operation, id).await?;
    refuse_tmpfs(&inspect.host_config.tmpfs, path)?;
    // Before the first byte: a start at the same time must not trust what was found in the image.
    let record = engine.records.of(id);
    record.remember(|memory| memory.pristine = false);
    let (archive, caller) = watched(archive);
    let mut outcome = put(engine, id, path, archive).await;
    if let Some(error) = caller.take() {
        return Err(error.with_context("path", path));
    }
    if let Err(Failure::Broken(_)) = outcome {
        // The engine may refuse before it has read all, and close the connection: then the reply is lost. It says why
        // when there is nothing to send.
        let nothing: ByteStream = Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(
            &EMPTY_ARCHIVE,
        ))]));
        if let Err(refusal @ Failure::Status { .. }) = put(engine, id, path, nothing).await {
            outcome = Err(refusal);
        }
    }
    outcome.map_err(|failure| refused(operation, id, path, failure))
}

async fn put(engine: &Engine, id: &str, path: &str, archive: ByteStream) -> Result<(), Failure> {
    let call = engine.client.put(format!("/containers/{id}/archive"));
    call.query("path", path)
        .stream_body("application/x-tar", archive)
        .unit()
        .await
}

/// A file or directory as a tar stream.
pub(crate) async fn copy_from(engine: &Arc<Engine>, id: &str, path: &str) -> Result<ByteStream> {
    validate_path(path)?;
    let operation = Operation::CopyFrom;
    let inspect = engine.inspect(operation, id).await?;
    refuse_tmpfs(&inspect.host_config.tmpfs, path)?;
    let call = engine
        .client
        .get(format!("/containers/{id}/archive"))
        .query("path", path);
    let (id, path) = (id.to_owned(), path.to_owned());
    let stream = call
        .stream()
        .await
        .map_err(|failure| refused(operation, &id, &path, failure))?;
    Ok(Box::pin(stream.map_err(move |failure| {
        refused(operation, &id, &path, failure)
            .with_operation(operation.name())
            .with_driver(DRIVER_NAME)
    })))
}

/// The engine would reach what is below the mount, and say that it went well.
fn refuse_tmpfs(tmpfs: &BTreeMap<String, String>, path: &str) -> Result<()> {
    let inside = |target: &&String| {
        let rest = path.strip_prefix(target.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match tmpfs.keys().find(inside) {
        None => Ok(()),
        Some(target) => {
            let message =
                format!("{path} is in the tmpfs mount {target}, which the engine cannot reach from outside");
            let hint = "use exec in the running container, or a volume in place of the tmpfs";
            Err(DriverError::file_system(message)
                .with_context("path", path)
                .with_context("hint", hint))
        }
    }
}

fn refused(operation: Operation, id: &str, path: &str, failure: Failure) -> DriverError {
    let read_only = failure.says("marked read-only");
    let error = error::container(operation, id, failure).with_context("path", path);
    if read_only {
        let hint = "mount a writable volume there, or make the container with security.readOnly: false";
        return error.with_context("hint", hint);
    }
    error
}

/// The error of the caller's stream, if it had one.
pub(crate) struct CallersError(Arc<Mutex<Option<DriverError>>>);

impl CallersError {
    /// What broke the stream.
    pub(crate) fn take(&self) -> Option<DriverError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream whose error can be told from the broken connection that it causes.
pub(crate) fn watched(stream: ByteStream) -> (ByteStream, CallersError) {
    let seen = Arc::new(Mutex::new(None));
    let note = Arc::clone(&seen);
    let stream = stream.inspect(move |item| {
        if let Err(error) = item {
            *note.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    });
    (Box::pin(stream), CallersError(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_tmpfs_is_refused() {
        let tmpfs = [("/tmp".to_owned(), String::new())].into();
        for (path, refused) in [
            ("/tmp", true),
            ("/tmp/x", true),
            ("/tmpx", false),
            ("/", false),
            ("/a/tmp", false),
        ] {
            assert_eq!(refuse_tmpfs(&tmpfs, path).is_err(), refused, "{path}");
        }
    }

    #[tokio::test]
    async fn the_callers_error_is_kept() {
        let items = [
            Ok(Bytes::from_static(b"x")),
            Err(DriverError::file_system("disk full")),
        ];
        let (stream, caller) = watched(Box::pin(futures_util::stream::iter(items)));
        let read: Vec<_> = stream.collect().await;
        assert_eq!(read.len(), 2);
        assert_eq!(caller.take(), Some(DriverError::file_system("disk full")));
        assert_eq!(caller.take(), None);
    }
}
