//! An image of a root file system.

use std::sync::Arc;

use driver_types::{ByteStream, DriverError, Image, ImportOptions, Operation, Result, Violation};
use driver_validation::{ImageReference, validate_import_options};
use futures_util::StreamExt;

use super::wire::Progress;
use crate::engine::Engine;
use crate::error;
use crate::failure::Failure;
use crate::lines::Lines;

/// Makes an image of the tar of a root file system.
pub(crate) async fn import_image(
    engine: &Arc<Engine>,
    options: &ImportOptions,
    archive: ByteStream,
) -> Result<Image> {
    validate_import_options(options)?;
    let changes = changes(options)?;
    let reference: ImageReference = options.reference.parse()?;
    let mut call = engine
        .client
        .post("/images/create")
        .query("fromSrc", "-")
        .query("repo", reference.name())
        .query("tag", reference.tag().unwrap_or("latest"));
    for change in changes {
        call = call.query("changes", change);
    }
    let (archive, caller) = crate::copy::watched(archive);
    let sent = call.stream_body("application/x-tar", archive).stream().await;
    if let Some(error) = caller.take() {
        return Err(error);
    }
    let failed = |failure: Failure| {
        // The engine takes a broken archive for its own error.
        if failure.says("processing tar file") || failure.says("invalid tar header") {
            return DriverError::file_system(format!("the archive cannot be read: {}", failure.message()));
        }
        error::image(Operation::ImportImage, &options.reference, failure)
    };
    let mut lines = Lines::new(sent.map_err(failed)?.boxed());
    while let Some(line) = lines.next::<Progress>().await {
        // An error comes in a reply that began as a success.
        if let Some(failure) = line.map_err(failed)?.failure() {
            return Err(failed(failure));
        }
    }
    super::get_image(engine, &options.reference)
        .await?
        .ok_or_else(|| DriverError::internal("the engine imported the image and does not have it"))
}

/// The defaults as Dockerfile instructions: the only form that the engine takes.
fn changes(options: &ImportOptions) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut violations = Vec::new();
    for (name, argv) in [("ENTRYPOINT", &options.entrypoint), ("CMD", &options.command)] {
        if !argv.is_empty() {
            changes.push(format!("{name} {}", serde_json::json!(argv)));
        }
    }
    let mut quoted = |pointer: String, text: &str| {
        if text.contains(['\n', '\r']) {
            let message = "has a line break, which the engine cannot import";
            let hint = "leave it out here and set it in the config of the container";
            violations.push(Violation::new(pointer, message).with_hint(hint));
        }
        quote(text)
    };
    for (name, value) in options.env.iter() {
        changes.push(format!("ENV {name}={}", quoted(format!("/env/{name}"), value)));
    }
    for (key, value) in &options.labels {
        let pointer = format!("/labels/{}", key.replace('~', "~0").replace('/', "~1"));
        let key = quoted(pointer.clone(), key);
        changes.push(format!("LABEL {key}={}", quoted(pointer, value)));
    }
    if let Some(path) = &options.working_dir {
        // Not quoted by the engine's rules, but its variables are replaced.
        quoted("/workingDir".into(), path);
        changes.push(format!(
            "WORKDIR {}",
            path.replace('\\', "\\\\").replace('$', "\\$")
        ));
    }
    if violations.is_empty() {
        Ok(changes)
    } else {
        Err(DriverError::violations(violations))
    }
}

/// A word in double quotes, with nothing in it that is replaced.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '$') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn defaults_become_instructions_that_nothing_can_leave() {
        let mut options = ImportOptions::new("a:1");
        options.entrypoint = vec!["/bin/x".into(), "a\"b\n$c".into()];
        options.env.insert("A".into(), "q\" $HOME \\".into());
        options.labels.insert("k \"x".into(), "v\" LABEL b=c".into());
        options.working_dir = Some("/a $b".into());
        assert_eq!(
            changes(&options).unwrap(),
            [
                r#"ENTRYPOINT ["/bin/x","a\"b\n$c"]"#,
                r#"ENV A="q\" \$HOME \\""#,
                r#"LABEL "k \"x"="v\" LABEL b=c""#,
                r"WORKDIR /a \$b",
            ]
        );
    }

    #[test]
    fn line_breaks_are_refused_without_showing_the_value() {
        let mut options = ImportOptions::new("a:1");
        options.env.insert("SECRET".into(), "first\nsecond".into());
        options.labels.insert("a/b".into(), "x\ny".into());
        let error = changes(&options).unwrap_err();
        let pointers: Vec<_> = error
            .violation_list()
            .iter()
            .map(|v| v.pointer.as_str())
            .collect();
        assert_eq!(pointers, ["/env/SECRET", "/labels/a~1b"]);
        assert!(!error.report().contains("second"));
    }
}
