//! The cases, one file a group. A group registers its cases in its own file, and itself in the table below.

use crate::case::{Case, Group};

mod attach;
mod capabilities;
mod capabilities_plan;
mod cleanup;
mod concurrency;
mod config;
mod config_rows;
mod create;
mod errors;
mod escape;
mod escape_archives;
mod escape_bombs;
mod escape_calls;
mod escape_images;
mod escape_names;
mod escape_races;
mod escape_runtime;
mod events;
mod events_readers;
mod exec;
mod exec_end;
mod exec_stream;
mod exec_stream_end;
mod files;
mod files_owners;
mod files_root;
mod health;
mod idempotence;
mod images;
mod images_pull;
mod inside;
mod limits;
mod limits_update;
mod logs;
mod logs_stream;
mod model;
mod networks;
mod networks_members;
mod pause;
mod ports;
mod process;
mod query;
mod reap;
mod recovery;
mod remove;
mod security;
mod security_isolation;
mod signal;
mod start;
mod state;
mod stats;
mod stop;
mod volumes;
mod wait;

/// Registers the cases of a group.
type Register = fn(&mut Group);

/// Every group with the function that registers its cases, in the order of reports.
const GROUPS: &[(&str, Register)] = &[
    ("config", config::register),
    ("create", create::register),
    ("start", start::register),
    ("stop", stop::register),
    ("remove", remove::register),
    ("state", state::register),
    ("query", query::register),
    ("logs", logs::register),
    ("wait", wait::register),
    ("signal", signal::register),
    ("pause", pause::register),
    ("exec", exec::register),
    ("exec_stream", exec_stream::register),
    ("attach", attach::register),
    ("files", files::register),
    ("stats", stats::register),
    ("events", events::register),
    ("limits", limits::register),
    ("security", security::register),
    ("escape", escape::register),
    ("volumes", volumes::register),
    ("networks", networks::register),
    ("ports", ports::register),
    ("images", images::register),
    ("health", health::register),
    ("capabilities", capabilities::register),
    ("idempotence", idempotence::register),
    ("concurrency", concurrency::register),
    ("recovery", recovery::register),
    ("model", model::register),
    ("errors", errors::register),
    ("cleanup", cleanup::register),
];

/// All cases of the suite.
pub fn cases() -> Vec<Case> {
    GROUPS
        .iter()
        .flat_map(|(name, register)| {
            let mut group = Group {
                name,
                cases: Vec::new(),
            };
            register(&mut group);
            group.cases
        })
        .collect()
}
