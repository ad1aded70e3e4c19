//! The exec guard: `guard [--stdin] [--tty ROWSxCOLUMNS] [--timeout-ms N] -- PROGRAM ARGUMENT...`

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    driver_exec_guard::guard::main(std::env::args_os().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("guard: runs in Linux containers only");
    ExitCode::from(driver_exec_guard::FAILED)
}
