//! mock
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
