//! Running a process in a container to its end.

use std::sync::Arc;
use std::time::Instant;

use driver_exec_guard::client;
use driver_types::{ExecResult, ExecSpec, Operation, Result};
use driver_validation::validate_exec_spec;

use crate::engine::Engine;
use crate::exec_stream;

/// Runs a process and collects what it writes. Dropping this future drops the handle, and that ends the tree.
pub(crate) async fn exec(engine: &Arc<Engine>, id: &str, spec: &ExecSpec) -> Result<ExecResult> {
    validate_exec_spec(spec)?;
    let started = Instant::now();
    let handle = exec_stream::start(engine, Operation::Exec, id, spec).await?;
    client::collect(handle, spec, started).await
}
