//! What an application said before it was killed: how far each of its steps got.

use std::collections::{BTreeMap, BTreeSet};

/// How far a step of an object got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Begun,
    Done,
    Failed,
}

/// The application's own account.
#[derive(Debug, Default)]
pub(crate) struct Story {
    steps: BTreeMap<(String, String), Reached>,
    pub(crate) ids: BTreeSet<String>,
    pub(crate) names: BTreeSet<String>,
    /// What it found wrong by itself.
    pub(crate) wrong: Vec<String>,
    pub(crate) failures: Vec<String>,
    /// Containers of which an exec was killed.
    pub(crate) killed_execs: BTreeSet<String>,
    /// Containers whose last output or exit nobody has.
    pub(crate) cut: BTreeSet<String>,
    pub(crate) finished: bool,
    text: String,
}

impl Story {
    pub(crate) fn of(said: &str) -> Self {
        let mut story = Self {
            text: said.to_owned(),
            ..Self::default()
        };
        for line in said.lines() {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            let [what, step, name, more] = parts[..] else {
                continue;
            };
            let reached = match what {
                "begin" => Reached::Begun,
                "done" => Reached::Done,
                "failed" => {
                    story.failures.push(line.to_owned());
                    Reached::Failed
                }
                "killed" => {
                    story.killed_execs.insert(name.to_owned());
                    continue;
                }
                "cut" => {
                    story.cut.insert(name.to_owned());
                    continue;
                }
                "id" => {
                    story.ids.insert(more.trim().to_owned());
                    continue;
                }
                _ => {
                    story.wrong.push(line.to_owned());
                    continue;
                }
            };
            story.finished |= step == "all";
            if step == "create" {
                story.names.insert(name.to_owned());
            }
            story.steps.insert((step.to_owned(), name.to_owned()), reached);
        }
        story
    }

    pub(crate) fn step(&self, step: &str, name: &str) -> Option<Reached> {
        self.steps.get(&(step.to_owned(), name.to_owned())).copied()
    }

    pub(crate) fn begun(&self, step: &str, name: &str) -> bool {
        self.step(step, name).is_some()
    }

    pub(crate) fn done(&self, step: &str, name: &str) -> bool {
        self.step(step, name) == Some(Reached::Done)
    }

    /// The last lines, for a report.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        lines[lines.len().saturating_sub(6)..].join("\n    ")
    }
}
