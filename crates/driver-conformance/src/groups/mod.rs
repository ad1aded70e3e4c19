//! The cases, one file a group. A group registers its cases in its own file, and itself in the table below.

use crate::case::{Case, Group};

mod create;

/// Every group with the function that registers its cases, in the order of reports.
const GROUPS: &[(&str, fn(&mut Group))] = &[("create", create::register)];

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
