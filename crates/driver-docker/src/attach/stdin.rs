//! The stdin of main processes: one connection a container, whatever the handles.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use driver_types::{DriverError, Result};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Mutex;

use crate::engine::Engine;

/// End of file as a terminal reads it.
const END_OF_TRANSMISSION: u8 = 4;

/// The connections to stdin, by container.
#[derive(Debug, Default)]
pub(crate) struct Stdins(Mutex<HashMap<String, Arc<Stdin>>>);

/// The stdin of one container's run.
#[derive(Debug)]
pub(crate) struct Stdin {
    id: String,
    tty: bool,
    /// Absent once it was closed. The lock orders those who write.
    writer: Mutex<Option<WriteHalf<TokioIo<Upgraded>>>>,
}

impl Stdins {
    /// The connection to a container's stdin, made if there is none.
    pub(crate) async fn of(&self, engine: &Arc<Engine>, id: &str, tty: bool) -> Result<Arc<Stdin>> {
        let mut known = self.0.lock().await;
        if let Some(stdin) = known.get(id) {
            return Ok(Arc::clone(stdin));
        }
        let connection = super::connect(engine, id, &["stdin"]).await?;
        let (reader, writer) = tokio::io::split(connection);
        let stdin = Arc::new(Stdin {
            id: id.to_owned(),
            tty,
            writer: Mutex::new(Some(writer)),
        });
        known.insert(id.to_owned(), Arc::clone(&stdin));
        tokio::spawn(keep(Arc::downgrade(engine), reader, Arc::clone(&stdin)));
        Ok(stdin)
    }
}

/// Holds the connection until the engine ends it with the container's run.
async fn keep(engine: Weak<Engine>, mut reader: ReadHalf<TokioIo<Upgraded>>, stdin: Arc<Stdin>) {
    let mut nothing = [0; 512];
    while matches!(reader.read(&mut nothing).await, Ok(count) if count > 0) {}
    let Some(engine) = engine.upgrade() else { return };
    let mut known = engine.stdins.0.lock().await;
    if known
        .get(&stdin.id)
        .is_some_and(|current| Arc::ptr_eq(current, &stdin))
    {
        known.remove(&stdin.id);
    }
}

impl Stdin {
    /// Writes, waiting while the process does not read.
    pub(crate) async fn write(&self, data: &[u8]) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let open = writer.as_mut().ok_or_else(|| closed(&self.id))?;
        let written = async {
            open.write_all(data).await?;
            open.flush().await
        };
        if written.await.is_err() {
            *writer = None;
            return Err(closed(&self.id));
        }
        Ok(())
    }

    /// Ends stdin: for all handles. A terminal stays open, as terminals do; its reader gets an end of file.
    pub(crate) async fn close(&self) -> Result<()> {
        if self.tty {
            return match self.write(&[END_OF_TRANSMISSION]).await {
                Err(error) if error.code() == "INVALID_STATE" => Ok(()),
                other => other,
            };
        }
        if let Some(mut writer) = self.writer.lock().await.take() {
            // The engine may have closed it already.
            let _ = writer.shutdown().await;
        }
        Ok(())
    }
}

/// The answer to who writes where nobody reads.
pub(super) fn closed(id: &str) -> DriverError {
    let allowed = ["running with its stdin open (stdin: true)"];
    DriverError::invalid_state(id, "not running, or its stdin is closed", allowed)
}
