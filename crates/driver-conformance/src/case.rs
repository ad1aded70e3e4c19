//! A case: one promise of the contract, as code.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use driver_types::{Capabilities, Capability, DriverError, Support, SupportLevel};

use crate::Context;

/// How a case ends.
pub type CaseResult = Result<(), CaseError>;

type Run = Box<dyn Fn(Context) -> Pin<Box<dyn Future<Output = CaseResult> + Send>> + Send + Sync>;

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseError {
    /// The driver broke the promise.
    Failed(Failure),
    /// It could not be tried here.
    Skipped(String),
}

/// What was expected, and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the contract wants.
    pub expected: String,
    /// What the driver did.
    pub got: String,
    /// The place in the case's source.
    pub place: String,
}

impl Failure {
    /// A failure seen by the caller.
    #[track_caller]
    pub fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        let place = Location::caller();
        let file = place.file().rsplit("/src/").next().unwrap_or_default();
        Self {
            expected: expected.into(),
            got: got.into(),
            place: format!("{file}:{}", place.line()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected: {}\n     got: {}\n      at: {}",
            self.expected, self.got, self.place
        )
    }
}

impl From<Failure> for CaseError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// With `?`, an error of the driver fails the case.
impl From<DriverError> for CaseError {
    #[track_caller]
    fn from(error: DriverError) -> Self {
        Self::Failed(Failure::new("success", format!("{error:?}")))
    }
}

/// What a driver must have, or must not have, for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The capability is declared.
    Declared(Capability),
    /// The capability is declared as native: what its reason would except is asked for.
    Native(Capability),
    /// The capability is not declared: the case proves the refusal.
    Missing(Capability),
}

/// A case of the suite.
pub struct Case {
    /// `group::name`.
    pub(crate) id: String,
    /// The group.
    pub(crate) group: &'static str,
    /// The rules of the contract that it proves.
    pub(crate) rules: Vec<&'static str>,
    pub(crate) needs: Vec<Need>,
    /// Whether nothing else may run at the same time.
    pub(crate) serial: bool,
    pub(crate) timeout: Duration,
    pub(crate) run: Run,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl Case {
    /// How long a case may take where it does not say.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// The id, `group::name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The rules of the contract that it proves.
    pub fn rules(&self) -> &[&'static str] {
        &self.rules
    }

    /// Adds rules of the contract that it proves.
    pub(crate) fn proves(&mut self, rules: &[&'static str]) -> &mut Self {
        self.rules.extend(rules);
        self
    }

    /// Runs only where these capabilities are declared.
    pub(crate) fn needs(&mut self, capabilities: &[Capability]) -> &mut Self {
        self.needs
            .extend(capabilities.iter().copied().map(Need::Declared));
        self
    }

    /// Runs only where this capability is native.
    pub(crate) fn needs_native(&mut self, capability: Capability) -> &mut Self {
        self.needs.push(Need::Native(capability));
        self
    }

    /// Runs only where this capability is not declared.
    pub(crate) fn needs_missing(&mut self, capability: Capability) -> &mut Self {
        self.needs.push(Need::Missing(capability));
        self
    }

    /// Runs alone: it looks at, or changes, something that all cases share.
    pub(crate) fn serial(&mut self) -> &mut Self {
        self.serial = true;
        self
    }

    /// Sets how long it may take.
    pub(crate) fn timeout_seconds(&mut self, seconds: u64) -> &mut Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Why a driver with these capabilities does not have to pass it.
    pub(crate) fn reason_to_skip(&self, capabilities: &Capabilities) -> Option<String> {
        self.needs.iter().find_map(|need| match need {
            Need::Declared(capability) => {
                let support = capabilities.get(*capability);
                let reason = support.reason.clone().unwrap_or_default();
                (!support.is_supported()).then(|| format!("no capability {capability}: {reason}"))
            }
            Need::Native(capability) => {
                let Support { level, reason } = capabilities.get(*capability);
                let reason = reason.unwrap_or_default();
                (level != SupportLevel::Native)
                    .then(|| format!("capability {capability} is {level}: {reason}"))
            }
            Need::Missing(capability) => capabilities.supports(*capability).then(|| {
                format!("capability {capability} is declared; this is the case of a driver without it")
            }),
        })
    }
}

/// Cases in the making, group by group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}

impl Group {
    /// Registers a case. The name says the promise in a few words: `taken_name`.
    pub(crate) fn case<F, Fut>(&mut self, name: impl fmt::Display, run: F) -> &mut Case
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = CaseResult> + Send + 'static,
    {
        self.cases.push(Case {
            id: format!("{}::{name}", self.name),
            group: self.name,
            rules: Vec::new(),
            needs: Vec::new(),
            serial: false,
            timeout: Case::TIMEOUT,
            run: Box::new(move |context| Box::pin(run(context))),
        });
        let last = self.cases.len() - 1;
        &mut self.cases[last]
    }
}
