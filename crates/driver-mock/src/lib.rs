//! A container driver without containers: a simulated engine that behaves as the real ones do, and is held to that by
//! the same conformance suite.
//!
//! - A [`World`] is what is outside of a program: an engine with its containers, images, volumes, networks and clock. It
//!   lives on when a driver is dropped, so that a restart can be rehearsed; [`World::engine_down`] makes the engine
//!   unreachable, [`World::reset`] begins anew.
//! - A [`MockDriver`] is a [`ContainerDriver`](driver_types::ContainerDriver) on a world, opened for an owner. Two
//!   [`Profile`]s, `mock-docker` and `mock-local`, differ in what they can do and remember.
//! - A [`Script`], in code or as JSON, sets how long calls take, what goes wrong with which of them, what the registry
//!   has, and what processes do.
//! - Time is tokio's, real or paused, or stands still until it is moved: see [`Clock`].
//!
//! ```
//! use driver_mock::{Behavior, Clock, End, MockDriver, MockOptions, ProcessRule, Profile, Script, World};
//! use driver_types::{ContainerConfig, ContainerDriver, ContainerDriverExt, LogOptions};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> driver_types::Result<()> {
//! let build = Behavior::default().line("compiling").run_ms(90_000).end(End::ExitCode(3));
//! let script = Script::default().process(ProcessRule::command(["cargo", "build"], build));
//! let world = World::with_script(Profile::Docker, script, Clock::tokio());
//! let driver = MockDriver::open(&world, MockOptions::default())?;
//!
//! let config = ContainerConfig::new("session-1", "alpine").command(["cargo", "build"]);
//! let container = driver.run_container(&config).await?;
//! // A minute and a half, at once: tokio's clock is paused.
//! let exit = driver.wait_exit(&container.id).await?;
//! assert_eq!(exit.exit_code, Some(3));
//! let log = driver.get_container_logs(&container.id, &LogOptions::default()).await?;
//! assert_eq!(log, "compiling\n");
//! # Ok(())
//! # }
//! ```
//!
//! # What is simulated
//!
//! Processes with their tree, signals, zombies and users; file systems with mounts, owners and modes; the limits of
//! memory, processes, processor time and (on `mock-local`) disk; capabilities and seccomp; networks, published ports
//! and names. Programs are the common ones of a registry image (`cat`, `echo`, `env`, `false`, `sleep`, `true`), those
//! that a rule of the script covers, and the workload of the conformance suite. A program that an image has and no rule
//! covers runs until a signal ends it; one that it has not is missing, with exit code 127.
//!
//! # What is not
//!
//! Files of this machine are never touched: bind mounts are refused unless the script's `hostFiles` is set, and then show
//! files of the simulated host. Sockets are conversations with echo servers. The log of a container keeps its last 16 MiB.
//!
//! # The script
//!
//! Every field is optional; unknown ones are refused. As JSON:
//!
//! | field | meaning |
//! |---|---|
//! | `seed` | of delays and ids |
//! | `defaultDelay`, `delays` | `{"minMs", "maxMs"}`, for every call or by operation (`createContainer`) |
//! | `capacity` | `{"cpu", "memory", "disk"}`: the most that a container may ask for |
//! | `minStopTimeoutMs` | shorter grace times of a stop are refused |
//! | `firstPort` | the first host port that the engine chooses |
//! | `faults` | see [`Fault`]: `error`, `hang`, `drop`, `partialCreate`, `lie` |
//! | `registry` | see [`RegistryImage`]: what can be pulled |
//! | `processes` | see [`ProcessRule`]: output, run time, exit, signals, memory, health |
//! | `hostFiles`, `eventBuffer`, `logBytes` | bind mounts, and the sizes of buffers |
//!
//! [`Script::original`] has the numbers of the TypeScript package's mocks. Features: `schema` derives a JSON Schema.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod behavior;
mod clock;
mod driver;
mod fs;
mod kernel;
mod profile;
mod script;
mod workload;
mod world;
pub use clock::Clock;
pub use driver::{MockDriver, MockOptions};
pub use driver_types::DriverError;
pub use profile::Profile;
pub use script::{
    Behavior, Capacity, Delay, End, Fault, HealthChange, Lie, Login, OutputLine, ProcessRule, RegistryImage,
    Script,
};
pub use world::World;
