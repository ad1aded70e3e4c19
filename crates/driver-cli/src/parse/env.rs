//! Environment variables and labels: `NAME=VALUE`, `NAME`, and files of them.

use std::path::Path;

use driver_types::DriverError;

/// Splits `KEY=VALUE`; the value is empty without `=`.
pub(crate) fn key_value(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// The variables of `--env` arguments: `NAME=VALUE`, or `NAME` for the value that this program itself was given.
/// A `NAME` without a value there is left out.
pub(crate) fn env_pairs<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    lookup: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    arguments
        .into_iter()
        .filter_map(|argument| match argument.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => lookup(argument).map(|value| (argument.to_owned(), value)),
        })
        .collect()
}

/// Reads an `--env-file`: one variable a line in the notation of `--env`; blank lines and those that begin with `#`
/// do not count. Values are taken as they are, with quotes.
pub(crate) fn env_file(
    path: &Path,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, DriverError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        DriverError::file_system(format!("cannot read --env-file {}: {error}", path.display()))
    })?;
    Ok(env_pairs(lines(&text), lookup))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["A=1"], &[("A", "1")])]
    #[case(&["A="], &[("A", "")])]
    #[case(&["A=b=c"], &[("A", "b=c")])]
    #[case(&["HOME"], &[("HOME", "/root")])]
    #[case(&["ABSENT", "A=1"], &[("A", "1")])]
    fn variables(#[case] arguments: &[&str], #[case] expected: &[(&str, &str)]) {
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let pairs = env_pairs(arguments.iter().copied(), lookup);
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn files() {
        let text = "\u{feff}# comment\n\nA=1 \r\n  B=\"two\"\nHOME\n";
        let pairs = env_pairs(lines(text), |_| Some("x".to_owned()));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1 "), ("B", "\"two\""), ("HOME", "x")]);
    }
}
