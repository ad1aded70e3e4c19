//! What is read of the engine's replies about images.

use std::collections::BTreeMap;

use driver_types::{Image, Labels, labels};
use serde::Deserialize;

use crate::failure::Failure;

/// `GET /images/{name}/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageInspect {
    pub(crate) id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    created: Option<String>,
    size: i64,
    pub(crate) config: Option<ImageConfig>,
}

/// The defaults of an image's containers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageConfig {
    pub(crate) user: String,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) working_dir: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// An item of `GET /images/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageSummary {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    /// Epoch seconds.
    created: i64,
    size: i64,
    labels: Option<BTreeMap<String, String>>,
}

impl From<ImageInspect> for Image {
    fn from(image: ImageInspect) -> Self {
        Self {
            id: image.id,
            references: references(image.repo_tags, image.repo_digests),
            size_bytes: u64::try_from(image.size).unwrap_or_default(),
            created_at: image
                .created
                .as_deref()
                .and_then(crate::time::parse_ms)
                .unwrap_or_default(),
            labels: callers(image.config.and_then(|config| config.labels)),
        }
    }
}

impl From<ImageSummary> for Image {
    fn from(image: ImageSummary) -> Self {
        Self {
            id: image.id,
            references: references(image.repo_tags, image.repo_digests),
            size_bytes: u64::try_from(image.size).unwrap_or_default(),
            created_at: u64::try_from(image.created)
                .unwrap_or_default()
                .saturating_mul(1000),
            labels: callers(image.labels),
        }
    }
}

/// Tags, then digests. The engine writes `<none>` for the part that is missing.
fn references(tags: Option<Vec<String>>, digests: Option<Vec<String>>) -> Vec<String> {
    let all = tags.into_iter().flatten().chain(digests.into_iter().flatten());
    all.filter(|reference| !reference.contains("<none>")).collect()
}

fn callers(found: Option<BTreeMap<String, String>>) -> Labels {
    let all = found.into_iter().flatten();
    all.filter(|(key, _)| !key.starts_with(labels::PREFIX)).collect()
}

/// One line of the progress of a pull or an import.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Progress {
    pub(crate) status: String,
    pub(crate) id: Option<String>,
    pub(crate) progress_detail: Option<ProgressDetail>,
    pub(crate) error: Option<String>,
}

impl Progress {
    /// The failure that an error line stands for.
    pub(super) fn failure(&self) -> Option<Failure> {
        let message = self.error.clone()?;
        Some(Failure::Status { status: 500, message })
    }
}

/// Bytes of a layer.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressDetail {
    pub(crate) current: Option<u64>,
    pub(crate) total: Option<u64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nulls_and_missing_names_are_read() {
        let text = r#"{"Id":"sha256:a","RepoTags":null,"RepoDigests":["<none>@<none>"],"Created":7,"Size":-1,
            "Labels":{"openagent.owner":"x","mine":"y"}}"#;
        let image = Image::from(serde_json::from_str::<ImageSummary>(text).unwrap());
        assert!(image.references.is_empty());
        assert_eq!((image.created_at, image.size_bytes), (7000, 0));
        assert_eq!(image.labels.len(), 1);
        let text = r#"{"Id":"sha256:a","RepoTags":["a:1"],"RepoDigests":["a@sha256:b"],"Config":null}"#;
        let image = Image::from(serde_json::from_str::<ImageInspect>(text).unwrap());
        assert_eq!(image.references, ["a:1", "a@sha256:b"]);
    }
}
