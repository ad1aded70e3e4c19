//! The shim of `driver-local`: makes a container and watches it, joins one, holds its root, or works on its files.
//!
//! One thread, no runtime, everything blocking or in one poll. The task comes on the socket that is its stdin.

mod adopt;
mod cgroups;
mod clock;
mod container;
mod directory;
mod ending;
mod exec;
mod failure;
mod files;
mod first;
mod fork_server;
mod forked;
mod helper;
mod hold;
mod init;
mod inside;
mod logs;
mod loopback;
mod netlink;
mod oom;
mod prepared;
mod process;
mod quota;
mod relay;
mod remove;
mod root;
mod routes;
mod run;
mod server;
mod start;
mod status;
mod streams;
mod supervisor;
mod sys;
mod userns;
mod wall;

fn main() -> std::process::ExitCode {
    start::main()
}
