//! Embeds the exec guard. Where it cannot be built, the driver is built without it and declares exec unsupported, with
//! the reason that is embedded instead.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    driver_static_build::depends_on(&["driver-exec-guard"]);
    // Containers have the architecture of the engine; which that is shows only at run time. Most run where we run.
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let embedded = match driver_static_build::build("driver-exec-guard", "guard") {
        Ok(program) => format!(
            "Ok(Program {{ bytes: include_bytes!({:?}), id: {:?}, architecture: {architecture:?} }})",
            program.path, program.id
        ),
        Err(reason) => {
            println!("cargo:warning=exec will not be supported: the exec guard cannot be built ({reason})");
            format!("Err({reason:?})")
        }
    };
    let code = format!(
        "/// The exec guard, or why there is none.\nstatic PROGRAM: Result<Program, &str> = {embedded};\n"
    );
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("guard.rs"), code).expect("OUT_DIR can be written");
}
