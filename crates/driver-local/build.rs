//! Embeds the shim. Where it cannot be built, the driver is built without it and cannot be opened; the error tells the
//! reason that is embedded instead.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    driver_static_build::depends_on(&["driver-local-shim", "driver-exec-guard"]);
    let embedded = match driver_static_build::build("driver-local-shim", "shim") {
        Ok(program) => format!("Ok(include_bytes!({:?}))", program.path),
        Err(reason) => {
            println!("cargo:warning=driver-local will not work: the shim cannot be built ({reason})");
            format!("Err({reason:?})")
        }
    };
    let code =
        format!("/// The shim, or why there is none.\nstatic PROGRAM: Result<&[u8], &str> = {embedded};\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("shim.rs"), code).expect("OUT_DIR can be written");
}
