//! Random sequences of operations against a model that is made of the state table alone.

#![allow(clippy::unwrap_used)]

use driver_mock::{MockDriver, MockOptions, Profile, World};
use driver_types::{
    Action, Capability, ContainerConfig, ContainerDriver, ContainerFilter, ContainerInstance,
    ContainerStatus, ExitReason, RemoveOptions, Result, Signal, StopOptions, Transition,
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio::runtime::{Builder, Runtime};

/// An operation. Containers are named by the order in which they were made, also when they are gone.
#[derive(Clone, Debug)]
enum Op {
    Create {
        name: Option<u8>,
        request: Option<u8>,
        session: u8,
    },
    Start(usize),
    Stop(usize, bool),
    Pause(usize),
    Resume(usize),
    Remove {
        nth: usize,
        force: bool,
        ignore_missing: bool,
    },
    /// SIGKILL from outside: the process ends, and nobody asked the engine to stop it.
    Kill(usize),
    /// The program that has the driver ends, and another one opens it.
    Reopen,
}

/// A container as the state table knows it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    status: ContainerStatus,
    runs: u32,
    session: u8,
    name: Option<u8>,
    request: Option<u8>,
    gone: bool,
    reason: Option<ExitReason>,
}

/// What the last operation must give: success, or an error of this code; for a create, the container.
#[derive(Clone, Debug, Default)]
struct Expected {
    code: Option<&'static str>,
    container: Option<usize>,
}

#[derive(Clone, Debug)]
struct Model {
    remembers_stops: bool,
    containers: Vec<Known>,
    expected: Expected,
}

impl Model {
    fn create(&mut self, name: Option<u8>, request: Option<u8>, session: u8) {
        let here = |known: &&Known| !known.gone;
        if let Some(request) = request
            && let Some(made) = self
                .containers
                .iter()
                .position(|known| !known.gone && known.request == Some(request))
        {
            let same = self.containers[made].name == name && self.containers[made].session == session;
            self.expected = match same {
                true => Expected {
                    code: None,
                    container: Some(made),
                },
                false => Expected {
                    code: Some("CONFIGURATION_ERROR"),
                    container: None,
                },
            };
            return;
        }
        if name.is_some()
            && self
                .containers
                .iter()
                .filter(here)
                .any(|known| known.name == name)
        {
            self.expected.code = Some("CONTAINER_CREATION_FAILED");
            return;
        }
        self.expected.container = Some(self.containers.len());
        self.containers.push(Known {
            status: ContainerStatus::Created,
            runs: 0,
            session,
            name,
            request,
            gone: false,
            reason: None,
        });
    }

    fn act(&mut self, nth: usize, action: Action) {
        let known = &mut self.containers[nth];
        if known.gone {
            self.expected.code = Some("CONTAINER_NOT_FOUND");
            return;
        }
        match known.status.transition(action) {
            Transition::To(status) => {
                if status == ContainerStatus::Running && action == Action::Start {
                    known.runs += 1;
                    known.reason = None;
                }
                if status == ContainerStatus::Stopped {
                    known.reason = Some(ExitReason::Stopped);
                }
                if status == ContainerStatus::Exited {
                    known.reason = Some(ExitReason::Signaled);
                }
                known.status = status;
            }
            Transition::NoOp => {}
            Transition::Gone => known.gone = true,
            Transition::RemoveRefused => self.expected.code = Some("CONTAINER_REMOVE_FAILED"),
            Transition::InvalidState | Transition::Impossible => self.expected.code = Some("INVALID_STATE"),
        }
    }

    /// Only what runs can be signalled; what is paused cannot.
    fn kill(&mut self, nth: usize) {
        if self.containers[nth].status == ContainerStatus::Paused && !self.containers[nth].gone {
            self.expected.code = Some("INVALID_STATE");
        } else {
            self.act(nth, Action::ProcessEnds);
        }
    }

    /// An engine that does not remember who ended a container tells that it exited.
    fn reopen(&mut self) {
        if self.remembers_stops {
            return;
        }
        for known in self
            .containers
            .iter_mut()
            .filter(|known| known.status == ContainerStatus::Stopped)
        {
            known.status = ContainerStatus::Exited;
            known.reason = Some(ExitReason::Signaled);
        }
    }
}

/// The model of a profile.
#[derive(Clone, Debug)]
struct Reference<const LOCAL: bool>;

fn profile(local: bool) -> Profile {
    if local { Profile::Local } else { Profile::Docker }
}

impl<const LOCAL: bool> ReferenceStateMachine for Reference<LOCAL> {
    type State = Model;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Model> {
        let remembers_stops = profile(LOCAL)
            .capabilities()
            .supports(Capability::DurableStopReason);
        Just(Model {
            remembers_stops,
            containers: Vec::new(),
            expected: Expected::default(),
        })
        .boxed()
    }

    fn transitions(state: &Model) -> BoxedStrategy<Op> {
        let few = |end: u8| proptest::option::weighted(0.4, 0..end);
        let create = (few(3), few(3), 0..2_u8).prop_map(|(name, request, session)| Op::Create {
            name,
            request,
            session,
        });
        if state.containers.is_empty() {
            return create.boxed();
        }
        let nth = 0..state.containers.len();
        prop_oneof![
            3 => create,
            6 => nth.clone().prop_map(Op::Start),
            4 => (nth.clone(), any::<bool>()).prop_map(|(nth, force)| Op::Stop(nth, force)),
            3 => nth.clone().prop_map(Op::Pause),
            3 => nth.clone().prop_map(Op::Resume),
            2 => (nth.clone(), any::<bool>(), any::<bool>())
                .prop_map(|(nth, force, ignore_missing)| Op::Remove { nth, force, ignore_missing }),
            3 => nth.prop_map(Op::Kill),
            1 => Just(Op::Reopen),
        ]
        .boxed()
    }

    fn preconditions(state: &Model, op: &Op) -> bool {
        match op {
            Op::Create { .. } | Op::Reopen => true,
            Op::Start(nth) | Op::Stop(nth, _) | Op::Pause(nth) | Op::Resume(nth) | Op::Kill(nth) => {
                *nth < state.containers.len()
            }
            Op::Remove { nth, .. } => *nth < state.containers.len(),
        }
    }

    fn apply(mut state: Model, op: &Op) -> Model {
        state.expected = Expected::default();
        match *op {
            Op::Create {
                name,
                request,
                session,
            } => state.create(name, request, session),
            Op::Start(nth) => state.act(nth, Action::Start),
            Op::Stop(nth, _) => state.act(nth, Action::Stop),
            Op::Pause(nth) => state.act(nth, Action::Pause),
            Op::Resume(nth) => state.act(nth, Action::Resume),
            Op::Remove {
                nth,
                force,
                ignore_missing,
            } => {
                state.act(
                    nth,
                    if force {
                        Action::RemoveForce
                    } else {
                        Action::Remove
                    },
                );
                if ignore_missing && state.expected.code == Some("CONTAINER_NOT_FOUND") {
                    state.expected.code = None;
                }
            }
            Op::Kill(nth) => state.kill(nth),
            Op::Reopen => state.reopen(),
        }
        state
    }
}

/// The driver on its world, with the ids of the containers in the order in which they were made.
struct Driven {
    runtime: Runtime,
    world: World,
    driver: Option<MockDriver>,
    ids: Vec<String>,
}

impl Driven {
    fn new(profile: Profile) -> Self {
        let world = World::new(profile);
        let driver = Some(MockDriver::open(&world, MockOptions::default()).unwrap());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        Self {
            runtime,
            world,
            driver,
            ids: Vec::new(),
        }
    }

    fn driver(&self) -> &MockDriver {
        self.driver.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        // As after a crash: the old one is gone before the new one opens.
        self.driver = None;
        self.driver = Some(MockDriver::open(&self.world, MockOptions::default()).unwrap());
    }

    fn run(&self, op: &Op) -> Result<Option<ContainerInstance>> {
        let (driver, ids) = (self.driver(), &self.ids);
        self.runtime.block_on(async {
            match *op {
                Op::Create {
                    name,
                    request,
                    session,
                } => {
                    let mut config =
                        ContainerConfig::new(format!("session-{session}"), "alpine:latest").command(["sh"]);
                    config.name = name.map(|name| format!("name-{name}"));
                    config.request_id = request.map(|request| format!("request-{request}"));
                    driver.create_container(&config).await.map(Some)
                }
                Op::Start(nth) => driver.start_container(&ids[nth]).await.map(|()| None),
                Op::Stop(nth, force) => {
                    let options = if force {
                        StopOptions::force()
                    } else {
                        StopOptions::default()
                    };
                    driver.stop_container(&ids[nth], &options).await.map(|()| None)
                }
                Op::Pause(nth) => driver.pause_container(&ids[nth]).await.map(|()| None),
                Op::Resume(nth) => driver.resume_container(&ids[nth]).await.map(|()| None),
                Op::Remove {
                    nth,
                    force,
                    ignore_missing,
                } => {
                    let options = RemoveOptions {
                        force,
                        ignore_missing,
                        volumes: false,
                    };
                    driver.remove_container(&ids[nth], &options).await.map(|()| None)
                }
                Op::Kill(nth) => driver
                    .signal_container(&ids[nth], Signal::KILL)
                    .await
                    .map(|()| None),
                Op::Reopen => Ok(None),
            }
        })
    }

    /// A container is what the model knows of it.
    fn compare(&self, known: &Known, instance: &ContainerInstance) {
        assert_eq!(
            (instance.status, instance.state),
            (known.status, known.status.state())
        );
        assert_eq!(instance.session_id, format!("session-{}", known.session));
        assert_eq!(instance.restarts, known.runs.saturating_sub(1));
        assert_eq!(instance.started_at.is_some(), known.runs > 0);
        assert_eq!(instance.exit.as_ref().map(|exit| exit.reason), known.reason);
        assert_eq!(instance.finished_at.is_some(), known.reason.is_some());
        if let Some(name) = known.name {
            assert_eq!(instance.name, format!("name-{name}"));
        }
    }
}

impl<const LOCAL: bool> StateMachineTest for Reference<LOCAL> {
    type SystemUnderTest = Driven;
    type Reference = Self;

    fn init_test(_: &Model) -> Driven {
        Driven::new(profile(LOCAL))
    }

    fn apply(mut driven: Driven, model: &Model, op: Op) -> Driven {
        if matches!(op, Op::Reopen) {
            driven.reopen();
            return driven;
        }
        let result = driven.run(&op);
        let code = result.as_ref().err().map(|error| error.code());
        assert_eq!(code, model.expected.code, "{op:?}: {result:?}");
        if let (Some(nth), Ok(Some(instance))) = (model.expected.container, result) {
            if nth == driven.ids.len() {
                driven.ids.push(instance.id.clone());
            }
            assert_eq!(instance.id, driven.ids[nth], "{op:?}");
        }
        driven
    }

    fn check_invariants(driven: &Driven, model: &Model) {
        let list = |filter: &ContainerFilter| {
            driven
                .runtime
                .block_on(driven.driver().list_containers(filter))
                .unwrap()
        };
        let here: Vec<_> = model
            .containers
            .iter()
            .zip(&driven.ids)
            .filter(|(known, _)| !known.gone)
            .collect();

        let listed = list(&ContainerFilter::default());
        let ids: Vec<_> = listed.iter().map(|instance| &instance.id).collect();
        assert_eq!(
            ids,
            here.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
            "oldest first"
        );
        for ((known, _), instance) in here.iter().zip(&listed) {
            driven.compare(known, instance);
        }
        for status in ContainerStatus::ALL {
            let filter = ContainerFilter {
                status: vec![status],
                ..ContainerFilter::session("session-1")
            };
            let expected = here
                .iter()
                .filter(|(known, _)| known.session == 1 && known.status == status)
                .count();
            assert_eq!(list(&filter).len(), expected, "{status}");
        }
        for (known, id) in model.containers.iter().zip(&driven.ids) {
            let found = driven
                .runtime
                .block_on(driven.driver().get_container(id))
                .unwrap();
            assert_eq!(found.is_none(), known.gone);
            let healthy = driven.runtime.block_on(driven.driver().is_container_healthy(id));
            match known.gone {
                true => assert_eq!(healthy.unwrap_err().code(), "CONTAINER_NOT_FOUND"),
                false => assert_eq!(healthy, Ok(known.status == ContainerStatus::Running)),
            }
        }
    }

    fn teardown(driven: Driven, _: Model) {
        for id in &driven.ids {
            let options = RemoveOptions {
                force: true,
                volumes: true,
                ignore_missing: true,
            };
            driven
                .runtime
                .block_on(driven.driver().remove_container(id, &options))
                .unwrap();
        }
        assert_eq!(driven.world.leftovers("default"), Vec::<String>::new());
    }
}

prop_state_machine! {
    #[test]
    fn mock_docker_follows_the_state_table(sequential 1..60 => Reference<false>);

    #[test]
    fn mock_local_follows_the_state_table(sequential 1..60 => Reference<true>);
}
