//! [`DriverError`]: kind + retry flag + operation + driver + context + source + clean-up error.

use std::error::Error;
use std::fmt;

use crate::{ErrorGroup, ErrorKind, StatusList, Violation};

/// Why an operation failed. One pointer in size, so that `Result`s stay small.
///
/// Its `Display` is the message form that contract section 4 fixes for the kind; [`report`](Self::report) tells
/// everything. Two errors are equal when all that crosses the wire is equal: of the sources only their texts count.
#[derive(Clone)]
pub struct DriverError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retryable: bool,
    operation: Option<String>,
    driver: Option<String>,
    context: Vec<(String, String)>,
    source: Option<std::sync::Arc<dyn Error + Send + Sync>>,
    cleanup: Option<DriverError>,
}

impl DriverError {
    /// An error of `kind`, with the kind's own retry flag.
    pub fn new(kind: ErrorKind) -> Self {
        let (operation, driver) = match &kind {
            ErrorKind::Unsupported { operation, driver } => (Some(operation.clone()), Some(driver.clone())),
            ErrorKind::Timeout { operation, .. }
            | ErrorKind::CircuitOpen { operation, .. }
            | ErrorKind::RateLimited { operation, .. }
            | ErrorKind::Overloaded { operation, .. } => (Some(operation.clone()), None),
            _ => (None, None),
        };
        let retryable = kind.info().retryable;
        Self(Box::new(Inner {
            kind,
            retryable,
            operation,
            driver,
            context: Vec::new(),
            source: None,
            cleanup: None,
        }))
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The stable code on the wire, for example `CONTAINER_NOT_FOUND`.
    pub fn code(&self) -> &'static str {
        self.0.kind.info().code
    }

    /// What the error is about.
    pub fn group(&self) -> ErrorGroup {
        self.0.kind.info().group
    }

    /// Whether the same call may succeed later. It does not by itself allow an automatic retry: `exec`, and
    /// `create_container` without a request id, must not be repeated (contract section 4).
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The operation that failed, by its name in the operation table.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The driver that failed.
    pub fn driver(&self) -> Option<&str> {
        self.0.driver.as_deref()
    }

    /// Further facts as key and value, in the order in which they were added.
    pub fn context(&self) -> &[(String, String)] {
        &self.0.context
    }

    /// The error of a clean-up that failed after the operation had failed.
    pub fn cleanup(&self) -> Option<&DriverError> {
        self.0.cleanup.as_ref()
    }

    /// The broken rules, where the kind is [`ErrorKind::Configuration`]; else empty.
    pub fn violation_list(&self) -> &[Violation] {
        match &self.0.kind {
            ErrorKind::Configuration { violations, .. } => violations,
            _ => &[],
        }
    }

    /// Names the operation, unless one is named already: the innermost knows best.
    #[must_use]
    pub fn with_operation(mut self, operation: impl Into<String>) -> Self {
        self.0.operation.get_or_insert_with(|| operation.into());
        self
    }

    /// Names the driver, unless one is named already.
    #[must_use]
    pub fn with_driver(mut self, driver: impl Into<String>) -> Self {
        self.0.driver.get_or_insert_with(|| driver.into());
        self
    }

    /// Adds a fact. Never a secret: context reaches logs and the wire.
    #[must_use]
    pub fn with_context(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.context.push((key.into(), value.to_string()));
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// Keeps the error of a clean-up that failed as well. The first one stays.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: DriverError) -> Self {
        self.0.cleanup.get_or_insert(cleanup);
        self
    }

    /// Says whether a retry can help, against the kind's own flag.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Marks the cause as permanent: a retry cannot help.
    #[must_use]
    pub fn permanent(self) -> Self {
        self.with_retryable(false)
    }

    /// Everything that is known, over several lines: message, operation, driver, context, causes, clean-up error.
    pub fn report(&self) -> String {
        let mut lines = vec![self.to_string()];
        let facts = [("operation", self.operation()), ("driver", self.driver())];
        lines.extend(
            facts
                .into_iter()
                .filter_map(|(key, value)| Some(format!("  {key}: {}", value?))),
        );
        lines.extend(
            self.context()
                .iter()
                .map(|(key, value)| format!("  {key}: {value}")),
        );
        lines.extend(
            self.causes()
                .into_iter()
                .map(|cause| format!("  caused by: {cause}")),
        );
        lines.extend(
            self.cleanup()
                .map(|cleanup| format!("  clean-up failed too: {cleanup}")),
        );
        lines.join("\n")
    }

    /// The texts of the sources, outermost first.
    pub(crate) fn causes(&self) -> Vec<String> {
        std::iter::successors(self.source(), |error| (*error).source())
            .map(ToString::to_string)
            .collect()
    }
}

impl PartialEq for DriverError {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.kind == b.kind
            && a.retryable == b.retryable
            && a.operation == b.operation
            && a.driver == b.driver
            && a.context == b.context
            && a.cleanup == b.cleanup
            && self.causes() == other.causes()
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)
    }
}

impl fmt::Debug for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.report())
    }
}

impl Error for DriverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn Error + 'static))
    }
}

impl From<ErrorKind> for DriverError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

/// Constructors, one a kind.
impl DriverError {
    /// [`ErrorKind::ContainerNotFound`].
    pub fn container_not_found(id: impl Into<String>) -> Self {
        Self::new(ErrorKind::ContainerNotFound { id: id.into() })
    }

    /// [`ErrorKind::ContainerCreation`].
    pub fn container_creation(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ContainerCreation {
            message: message.into(),
        })
    }

    /// [`ErrorKind::ContainerStart`].
    pub fn container_start(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ContainerStart {
            id: id.into(),
            message: message.into(),
            exit_code: None,
        })
    }

    /// [`ErrorKind::ContainerStop`].
    pub fn container_stop(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ContainerStop {
            id: id.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::ContainerRemove`].
    pub fn container_remove(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ContainerRemove {
            id: id.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::VolumeCreation`].
    pub fn volume_creation(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::VolumeCreation {
            name: name.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::VolumeNotFound`].
    pub fn volume_not_found(id: impl Into<String>) -> Self {
        Self::new(ErrorKind::VolumeNotFound { id: id.into() })
    }

    /// [`ErrorKind::VolumeRemove`].
    pub fn volume_remove(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::VolumeRemove {
            id: id.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::NetworkCreation`].
    pub fn network_creation(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NetworkCreation {
            name: name.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::NetworkNotFound`].
    pub fn network_not_found(id: impl Into<String>) -> Self {
        Self::new(ErrorKind::NetworkNotFound { id: id.into() })
    }

    /// [`ErrorKind::NetworkRemove`].
    pub fn network_remove(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NetworkRemove {
            id: id.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::DriverHealth`].
    pub fn driver_health(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DriverHealth {
            message: message.into(),
        })
    }

    /// [`ErrorKind::ResourceLimit`]. Units: cores for `cpu`, MiB for `memory` and `disk`.
    pub fn resource_limit(resource: impl Into<String>, limit: f64, requested: f64) -> Self {
        Self::new(ErrorKind::ResourceLimit {
            resource: resource.into(),
            limit,
            requested,
        })
    }

    /// [`ErrorKind::Authentication`].
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Authentication {
            message: message.into(),
        })
    }

    /// [`ErrorKind::Authorization`].
    pub fn authorization(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Authorization {
            message: message.into(),
        })
    }

    /// [`ErrorKind::Configuration`] without violations.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration {
            message: message.into(),
            violations: Vec::new(),
        })
    }

    /// [`ErrorKind::Configuration`] that names every violation in its message.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let message = violations
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        Self::new(ErrorKind::Configuration { message, violations })
    }

    /// [`ErrorKind::Timeout`].
    pub fn timeout(operation: impl Into<String>, ms: u64) -> Self {
        Self::new(ErrorKind::Timeout {
            operation: operation.into(),
            ms,
        })
    }

    /// [`ErrorKind::Network`].
    pub fn network(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Network {
            message: message.into(),
        })
    }

    /// [`ErrorKind::FileSystem`].
    pub fn file_system(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::FileSystem {
            message: message.into(),
        })
    }

    /// [`ErrorKind::ImageNotFound`].
    pub fn image_not_found(reference: impl Into<String>) -> Self {
        Self::new(ErrorKind::ImageNotFound {
            reference: reference.into(),
        })
    }

    /// [`ErrorKind::ImagePull`].
    pub fn image_pull(reference: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ImagePull {
            reference: reference.into(),
            message: message.into(),
        })
    }

    /// [`ErrorKind::InvalidState`]; `allowed` are the statuses in which the operation is legal.
    pub fn invalid_state<S: ToString>(
        id: impl Into<String>,
        status: impl ToString,
        allowed: impl IntoIterator<Item = S>,
    ) -> Self {
        let allowed = StatusList(allowed.into_iter().map(|status| status.to_string()).collect());
        Self::new(ErrorKind::InvalidState {
            id: id.into(),
            status: status.to_string(),
            allowed,
        })
    }

    /// [`ErrorKind::ExecStart`].
    pub fn exec_start(id: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ExecStart {
            id: id.into(),
            message: message.into(),
            exit_code: None,
        })
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(operation: impl Into<String>, driver: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported {
            operation: operation.into(),
            driver: driver.into(),
        })
    }

    /// [`ErrorKind::CircuitOpen`].
    pub fn circuit_open(operation: impl Into<String>, retry_after_ms: u64) -> Self {
        Self::new(ErrorKind::CircuitOpen {
            operation: operation.into(),
            retry_after_ms,
        })
    }

    /// [`ErrorKind::RateLimited`].
    pub fn rate_limited(operation: impl Into<String>, retry_after_ms: u64) -> Self {
        Self::new(ErrorKind::RateLimited {
            operation: operation.into(),
            retry_after_ms,
        })
    }

    /// [`ErrorKind::Overloaded`].
    pub fn overloaded(operation: impl Into<String>, retry_after_ms: u64) -> Self {
        Self::new(ErrorKind::Overloaded {
            operation: operation.into(),
            retry_after_ms,
        })
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal {
            message: message.into(),
        })
    }

    /// Adds the exit code of a start that failed: 127 for a missing program, 126 for one that is not executable.
    /// Other kinds stay as they are.
    #[must_use]
    pub fn with_exit_code(mut self, code: i32) -> Self {
        if let ErrorKind::ContainerStart { exit_code, .. } | ErrorKind::ExecStart { exit_code, .. } =
            &mut self.0.kind
        {
            *exit_code = Some(code);
        }
        self
    }
}
