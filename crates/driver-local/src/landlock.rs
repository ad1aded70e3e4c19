//! What the kernel has of Landlock, by which shims are closed in.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

/// How much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landlock {
    /// Files, sockets and signals.
    Whole,
    /// Files, of a kernel before 6.12.
    Files,
    /// Nothing.
    None,
}

impl Landlock {
    /// Asks the kernel; nothing is restricted.
    pub(crate) fn probe() -> Self {
        let ask = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if ask().scope(Scope::from_all(ABI::V6)).is_ok() {
            return Self::Whole;
        }
        match ask().handle_access(AccessFs::from_all(ABI::V1)) {
            Ok(_) => Self::Files,
            Err(_) => Self::None,
        }
    }
}
