//! A reference model: random sequences of operations against the state table, shrunk to the shortest that fails.
//!
//! The sequences of a case come from a fixed seed, so that a failure can be repeated.

use driver_types::{
    Action, Capability, ContainerDriver, ContainerDriverExt, ContainerStatus, DriverError, ExitReason,
    RemoveOptions, Signal, StopOptions, Transition,
};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::Context;
use crate::case::{CaseError, CaseResult, Failure, Group};
use crate::expect;

/// Sequences that are tried to find a shorter one that fails as well.
const SHRINKS: usize = 40;

/// An operation of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A new container, where there is none.
    Create,
    /// A move of the state table.
    Act(Action),
}

const STEPS: [Step; 8] = [
    Step::Create,
    Step::Act(Action::Start),
    Step::Act(Action::Stop),
    Step::Act(Action::Pause),
    Step::Act(Action::Resume),
    Step::Act(Action::Remove),
    Step::Act(Action::RemoveForce),
    Step::Act(Action::ProcessEnds),
];

/// How often each step of [`STEPS`] is drawn: enough of those that let a container live.
const WEIGHTS: [usize; 8] = [2, 4, 2, 3, 3, 1, 1, 2];

pub(super) fn register(group: &mut Group) {
    for seed in 1..=6 {
        let case = group.case(format_args!("one_container_{seed}"), move |cx| {
            walk(cx, seed, 1, 12)
        });
        case.proves(&["2.table", "2.newRun", "2.unknown"])
            .timeout_seconds(240);
    }
    for seed in 7..=8 {
        let case = group.case(format_args!("three_containers_{seed}"), move |cx| {
            walk(cx, seed, 3, 18)
        });
        case.proves(&["2.table"]).timeout_seconds(240);
    }
}

/// Draws a sequence, runs it, and shrinks it if it fails.
async fn walk(cx: Context, seed: u8, containers: usize, length: usize) -> CaseResult {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let weights: usize = WEIGHTS.iter().sum();
    let sequences = vec((0..containers, 0..weights), length..=length + 4);
    let mut tree = sequences
        .new_tree(&mut runner)
        .map_err(|reason| Failure::new("a sequence", reason.to_string()))?;
    drop(runner);
    let mut failed = match run(&cx, containers, &tree.current()).await {
        Ok(()) => return Ok(()),
        Err(error) => (tree.current(), error),
    };
    for _ in 0..SHRINKS {
        let shorter = match failed.0 == tree.current() {
            true => tree.simplify(),
            false => tree.complicate(),
        };
        if !shorter {
            break;
        }
        if let Err(error) = run(&cx, containers, &tree.current()).await {
            failed = (tree.current(), error);
        }
    }
    let (sequence, error) = failed;
    let steps: Vec<_> = sequence
        .iter()
        .map(|(container, draw)| format!("{container}:{:?}", step(*draw)))
        .collect();
    Err(match error {
        CaseError::Failed(failure) => Failure {
            expected: format!(
                "{} after the shortest sequence found: {}",
                failure.expected,
                steps.join(", ")
            ),
            ..failure
        }
        .into(),
        skipped => skipped,
    })
}

/// The step of a draw.
fn step(draw: usize) -> Step {
    let mut left = draw;
    for (step, weight) in STEPS.iter().zip(WEIGHTS) {
        if left < weight {
            return *step;
        }
        left -= weight;
    }
    Step::Create
}

/// What the model knows of a container.
#[derive(Default)]
struct Model {
    id: Option<String>,
    /// None: it does not exist.
    status: Option<ContainerStatus>,
    runs: u32,
}

async fn run(cx: &Context, containers: usize, sequence: &[(usize, usize)]) -> CaseResult {
    let mut models: Vec<Model> = (0..containers).map(|_| Model::default()).collect();
    let mut result = Ok(());
    for (container, draw) in sequence {
        let Some(model) = models.get_mut(*container) else {
            continue;
        };
        result = match step(*draw) {
            Step::Create => create(cx, model).await,
            Step::Act(action) => act(cx, model, action).await,
        };
        if result.is_err() {
            break;
        }
    }
    // The next sequence must not find them.
    for id in models.into_iter().filter_map(|model| model.id) {
        cx.driver().force_remove(&id).await?;
    }
    result
}

async fn create(cx: &Context, model: &mut Model) -> CaseResult {
    if model.status.is_some() {
        return Ok(());
    }
    let container = cx.create(&cx.config(["forever"])).await?;
    expect::that(
        "an id that was not used before",
        model.id.as_ref() != Some(&container.id),
        &container.id,
    )?;
    *model = Model {
        id: Some(container.id),
        status: Some(ContainerStatus::Created),
        runs: 0,
    };
    agree(cx, model).await
}

async fn act(cx: &Context, model: &mut Model, action: Action) -> CaseResult {
    let paused = model.status == Some(ContainerStatus::Paused);
    let impossible = match action {
        Action::Pause | Action::Resume => !cx.supports(Capability::Pause),
        Action::ProcessEnds => paused || !cx.supports(Capability::Signal),
        _ => false,
    };
    if impossible {
        return Ok(());
    }
    let id = model.id.clone().unwrap_or_else(|| "ab".repeat(32));
    let result = perform(cx.driver(), &id, action).await;
    let Some(status) = model.status else {
        expect::permanent(result, "CONTAINER_NOT_FOUND")?;
        return Ok(());
    };
    match status.transition(action) {
        Transition::To(next) => {
            result?;
            if action == Action::ProcessEnds {
                let exit = cx.wait_exit(&id).await?;
                expect::equal("reason of a kill", exit.reason, ExitReason::Signaled)?;
            }
            model.runs += u32::from(action == Action::Start);
            model.status = Some(next);
        }
        Transition::NoOp => result?,
        Transition::Gone => {
            result?;
            model.status = None;
        }
        Transition::InvalidState | Transition::Impossible => {
            expect::permanent(result, "INVALID_STATE")?;
        }
        Transition::RemoveRefused => {
            expect::permanent(result, "CONTAINER_REMOVE_FAILED")?;
        }
    }
    agree(cx, model).await
}

async fn perform(driver: &dyn ContainerDriver, id: &str, action: Action) -> Result<(), DriverError> {
    match action {
        Action::Start => driver.start_container(id).await,
        Action::Stop => driver.stop_container(id, &StopOptions::timeout(2000)).await,
        Action::Pause => driver.pause_container(id).await,
        Action::Resume => driver.resume_container(id).await,
        Action::Remove => driver.remove_container(id, &RemoveOptions::default()).await,
        Action::RemoveForce => driver.remove_container(id, &RemoveOptions::force()).await,
        // Nothing of the contract ends a process by itself; a kill by somebody else looks the same.
        Action::ProcessEnds => driver.signal_container(id, Signal::KILL).await,
    }
}

/// The driver tells of the container what the model expects.
async fn agree(cx: &Context, model: &Model) -> CaseResult {
    let Some(id) = &model.id else { return Ok(()) };
    let found = cx.driver().get_container(id).await?;
    expect::equal(
        "status",
        found.as_ref().map(|container| container.status),
        model.status,
    )?;
    let Some(container) = found else { return Ok(()) };
    expect::equal("restarts", container.restarts, model.runs.saturating_sub(1))?;
    expect::equal("state", container.state, container.status.state())?;
    expect::equal("an exit", container.exit.is_some(), container.status.has_ended())?;
    expect::equal("startedAt", container.started_at.is_some(), model.runs > 0)?;
    expect::equal(
        "finishedAt",
        container.finished_at.is_some(),
        container.status.has_ended(),
    )
}
