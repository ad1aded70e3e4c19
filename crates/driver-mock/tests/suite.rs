//! The whole conformance suite on both mocks, as one test: no case may fail.

mod factory;

use std::process::ExitCode;
use std::sync::Arc;

use driver_conformance::DriverFactory;
use driver_mock::{Profile, Script};
use factory::MockFactory;

fn main() -> ExitCode {
    let factory =
        |profile| Arc::new(MockFactory::with_script(profile, Script::default())) as Arc<dyn DriverFactory>;
    driver_conformance::main(Profile::ALL.map(factory).into())
}
