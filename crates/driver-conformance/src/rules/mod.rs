//! The sentences of the driver contract, each with an id that cases cite.

mod operations;
mod safety;
mod types;

/// A promise of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The section of the contract, a dot, and words: `3.exec.timeout`.
    pub id: &'static str,
    /// The sentence.
    pub text: &'static str,
}

/// All rules, in the order of the contract.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [types::RULES, operations::RULES, safety::RULES]
        .into_iter()
        .flatten()
}

/// The titles of the sections that have rules.
pub(crate) const SECTIONS: [(&str, &str); 7] = [
    ("1", "Types"),
    ("2", "State table"),
    ("3", "Operations"),
    ("4", "Errors"),
    ("5", "Capabilities"),
    ("6", "Limits"),
    ("7", "Security floor"),
];

const fn rule(id: &'static str, text: &'static str) -> Rule {
    Rule { id, text }
}
