//! `cargo xtask tidy`: what compilers do not check. It runs in seconds, before the build.

mod docs;
mod graph;
mod sources;

use crate::run::{Result, output, root};

pub(crate) fn main() -> Result {
    let files = tracked_files()?;
    let mut problems = graph::check()?;
    problems.extend(sources::check(&files)?);
    problems.extend(docs::check(&files)?);
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} thing(s) to tidy").into()),
    }
}

/// The files of the checkout as git sees them, new ones included, relative to the root.
fn tracked_files() -> Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root());
    Ok(output(&mut git)?
        .lines()
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect())
}
