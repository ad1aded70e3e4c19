//! What a crash left, seen before `recover`: which containers' first processes are gone already, and whose removal was begun.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Ids of containers of which `recover` has something to finish.
#[derive(Default)]
pub(crate) struct Before {
    /// The first process has ended: nothing of them runs.
    pub(crate) ended: BTreeSet<String>,
    /// A removal by force was recorded.
    pub(crate) condemned: BTreeSet<String>,
}

impl Before {
    pub(crate) fn look(state: &Path) -> Self {
        let mut before = Self::default();
        let entries = fs::read_dir(state.join("containers"))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let Ok(id) = entry.file_name().into_string() else {
                continue;
            };
            let records = journal(state, &id);
            let records: Vec<Value> = records
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            let begun = records.iter().rev().find_map(|record| record.get("started"));
            if begun.is_some_and(|begun| !lives(begun)) {
                before.ended.insert(id.clone());
            }
            if records.iter().any(|record| record.get("killing").is_some()) {
                before.condemned.insert(id);
            }
        }
        before
    }
}

/// A container's journal, as it is.
pub(crate) fn journal(state: &Path, id: &str) -> String {
    fs::read_to_string(state.join("containers").join(id).join("journal")).unwrap_or_default()
}

/// Whether the first process of a run is there and no zombie: fields 3 and 22 of proc(5)'s stat.
fn lives(started: &Value) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", started["initPid"])).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let [Some(state), Some(start)] = [fields.first(), fields.get(19)] else {
        return false;
    };
    start.parse().ok() == started["initStartTime"].as_u64() && !["Z", "X"].contains(state)
}
