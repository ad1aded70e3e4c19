//! Steps that cases of several groups share: looking into containers, and reading from streams with a deadline.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use driver_types::BoxStream;
use futures_util::StreamExt;

use crate::Context;
use crate::case::{CaseError, CaseResult, Failure};
use crate::expect;
use crate::fnv::fnv1a64;

/// How long something that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// No commands: the workload program does nothing.
pub(super) const NOTHING: [&str; 0] = [];

/// A running container with the default config that does nothing; returns its id.
pub(super) async fn idle(cx: &Context) -> Result<String, CaseError> {
    Ok(cx.run(&cx.config(["forever"])).await?.id)
}

/// There is no such container.
pub(super) async fn absent(cx: &Context, id: &str) -> CaseResult {
    expect::equal("get_container", cx.driver().get_container(id).await?, None)
}

/// What the future gives, within 30 seconds.
pub(super) async fn soon<T>(what: impl Display, future: impl Future<Output = T>) -> Result<T, CaseError> {
    let late = |_| Failure::new(what.to_string(), format!("not within {} s", PATIENCE.as_secs())).into();
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}

/// The next item of a stream, within 30 seconds; its end fails the case.
pub(super) async fn next<T>(what: impl Display, stream: &mut BoxStream<T>) -> Result<T, CaseError> {
    match soon(&what, stream.next()).await? {
        Some(item) => Ok(item?),
        None => Err(Failure::new(what.to_string(), "the end of the stream").into()),
    }
}

/// The stream ends within 30 seconds; items before its end are thrown away.
pub(super) async fn ends<T>(what: impl Display, stream: &mut BoxStream<T>) -> CaseResult {
    soon(&what, async {
        while let Some(item) = stream.next().await {
            item?;
        }
        Ok(())
    })
    .await?
}

/// Bytes as the commands `size` and `stdin` of the workload program tell them: length and FNV-1a.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    format!("{} {:016x}", bytes.len(), fnv1a64(bytes))
}

/// Bytes of every value, many times over, in no short period.
pub(super) fn binary(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| ((index * 7) ^ (index >> 8)) as u8)
        .collect()
}
