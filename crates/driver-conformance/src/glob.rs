//! Matches ids by `*` and `?`.

/// Whether the whole text matches.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    let mut characters = glob.chars();
    match characters.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            let mut tails = text.char_indices().map(|(index, _)| &text[index..]).chain([""]);
            tails.any(|tail| matches(rest, tail))
        }
        Some(wanted) => {
            let mut text = text.chars();
            text.next().is_some_and(|found| wanted == '?' || wanted == found)
                && matches(characters.as_str(), text.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::matches;

    #[rstest]
    #[case("stop::*", "stop::force_kills", true)]
    #[case("*", "", true)]
    #[case("*kills", "stop::force_kills", true)]
    #[case("stop::f?rce*", "stop::force_kills", true)]
    #[case("stop", "stop::force_kills", false)]
    #[case("*::*", "stop", false)]
    #[case("", "x", false)]
    fn globs(#[case] glob: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(matches(glob, text), expected);
    }
}
