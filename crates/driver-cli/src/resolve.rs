//! Containers as people name them: by id, by a unique beginning of an id, or by name.

use driver_types::{ContainerDriver, ContainerFilter, ContainerInstance, DriverError, Violation};

/// The container that `text` means: an id, a name, or the beginning of exactly one id.
pub(crate) async fn container(
    driver: &dyn ContainerDriver,
    text: &str,
) -> Result<ContainerInstance, DriverError> {
    let all = driver.list_containers(&ContainerFilter::default()).await?;
    choose(all, text)
}

fn choose(mut all: Vec<ContainerInstance>, text: &str) -> Result<ContainerInstance, DriverError> {
    let exact = all
        .iter()
        .position(|container| container.id == text)
        .or_else(|| all.iter().position(|container| container.name == text));
    if let Some(index) = exact {
        return Ok(all.swap_remove(index));
    }
    if text.is_empty() {
        return Err(DriverError::container_not_found(text));
    }
    all.retain(|container| container.id.starts_with(text));
    match all.len() {
        0 => Err(DriverError::container_not_found(text)),
        1 => Ok(all.swap_remove(0)),
        count => {
            let names = all.iter().take(5).map(|container| container.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            let violation = Violation::new(
                "",
                format!("`{text}` is the beginning of {count} container ids ({names})"),
            )
            .with_hint("use more of the id, or the name");
            Err(DriverError::violations(vec![violation]))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use driver_types::{ContainerState, ContainerStatus, Enforcement, Labels, ResourceLimits};
    use rstest::rstest;

    use super::*;

    fn instance(id: &str, name: &str) -> ContainerInstance {
        ContainerInstance {
            id: id.to_owned(),
            name: name.to_owned(),
            session_id: "s".to_owned(),
            image: "i".to_owned(),
            image_digest: None,
            status: ContainerStatus::Created,
            state: ContainerState::Terminated,
            endpoint: String::new(),
            created_at: 0,
            started_at: None,
            finished_at: None,
            exit: None,
            health: None,
            ports: Vec::new(),
            addresses: Vec::new(),
            labels: Labels::new(),
            resources: ResourceLimits::default(),
            enforcement: Enforcement::default(),
            driver: "d".to_owned(),
            restarts: 0,
        }
    }

    #[rstest]
    #[case::id("abc1", Ok("abc1"))]
    #[case::name_before_beginning_of_id("abd", Ok("eee"))]
    #[case::unique_beginning("abc", Ok("abc1"))]
    #[case::ambiguous("ab", Err("CONFIGURATION_ERROR"))]
    #[case::unknown("zzz", Err("CONTAINER_NOT_FOUND"))]
    #[case::empty("", Err("CONTAINER_NOT_FOUND"))]
    fn containers_are_found(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        let all = vec![
            instance("abc1", "web"),
            instance("abd2", "db"),
            instance("eee", "abd"),
        ];
        let found = choose(all, text);
        match expected {
            Ok(id) => assert_eq!(found.unwrap().id, id),
            Err(code) => assert_eq!(found.unwrap_err().code(), code),
        }
    }
}
