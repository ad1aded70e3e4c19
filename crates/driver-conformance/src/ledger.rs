//! The leak ledger: what a case made is removed through the driver, and then nothing of its owners may be left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use driver_types::{
    Capability, ContainerDriver, ContainerDriverExt, ContainerFilter, DriverError, ObjectKind, Result,
};

use crate::factory::{DriverFactory, OpenOptions};
use crate::tracked::{Inventory, Made};

/// How long the end of a dropped call, or of a removal, may take in the background.
const PATIENCE: Duration = Duration::from_secs(15);

/// Removes what the case made and returns what is then wrong: removals that failed, and whatever is left.
///
/// `token` is part of the name of every image of the case. What is left is removed after it was reported.
pub(crate) async fn settle(factory: &dyn DriverFactory, inventory: &Inventory, token: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for owner in inventory.owners() {
        // A driver of its own: the case may have shut its driver down, or set deadlines that nothing can keep.
        match factory.open(&OpenOptions::new(&owner)).await {
            Ok(driver) => wrong.extend(settle_owner(factory, &driver, inventory, &owner, token).await),
            Err(reason) => wrong.push(format!(
                "the driver cannot be opened again for the clean-up: {reason}"
            )),
        }
    }
    wrong
}

async fn settle_owner(
    factory: &dyn DriverFactory,
    driver: &Arc<dyn ContainerDriver>,
    inventory: &Inventory,
    owner: &str,
    token: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for made in inventory.made().iter().filter(|made| made.owner == owner) {
        if let Err(error) = remove(driver.as_ref(), made).await {
            wrong.push(format!(
                "cannot remove {} {}: {error}",
                name_of(made.kind),
                made.id
            ));
        }
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let left = loop {
        let left = match look(factory, driver.as_ref(), owner, token).await {
            Ok(left) => left,
            Err(error) => return vec![format!("cannot look for what is left: {error:?}")],
        };
        if left.is_empty() || tokio::time::Instant::now() > deadline {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for (line, made) in left {
        let cleaned = match made {
            Some(made) => remove(driver.as_ref(), &made).await.is_ok(),
            None => false,
        };
        wrong.push(format!(
            "left behind: {line}{}",
            if cleaned { " (removed now)" } else { "" }
        ));
    }
    wrong
}

fn name_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Container => "container",
        ObjectKind::Volume => "volume",
        ObjectKind::Network => "network",
        ObjectKind::Image => "image",
    }
}

/// Everything of an owner, as a line of text and, where the driver can remove it, the object.
async fn look(
    factory: &dyn DriverFactory,
    driver: &dyn ContainerDriver,
    owner: &str,
    token: &str,
) -> Result<Vec<(String, Option<Made>)>> {
    let capabilities = driver.capabilities().await?;
    let mut found = BTreeSet::new();
    let mut add = |kind, id: String, more: String| {
        let line = format!("{} {id}{more}", name_of(kind));
        found.insert((
            line,
            Some(Made {
                kind,
                owner: owner.to_owned(),
                id,
            }),
        ));
    };
    for container in driver.list_containers(&ContainerFilter::default()).await? {
        add(
            ObjectKind::Container,
            container.id,
            format!(" ({}, {})", container.name, container.status),
        );
    }
    if capabilities.supports(Capability::Volumes) {
        for volume in driver.list_volumes().await? {
            add(ObjectKind::Volume, volume.name, String::new());
        }
    }
    if capabilities.supports(Capability::Networks) {
        for network in driver.list_networks().await? {
            add(ObjectKind::Network, network.name, String::new());
        }
    }
    if capabilities.supports(Capability::Images) {
        let references = driver
            .list_images()
            .await?
            .into_iter()
            .flat_map(|image| image.references);
        for reference in references.filter(|reference| reference.contains(token)) {
            add(ObjectKind::Image, reference, String::new());
        }
    }
    let outside = factory.host_objects(owner).await.unwrap_or_default();
    found.extend(outside.into_iter().map(|line| (line, None)));
    Ok(found.into_iter().collect())
}

async fn remove(driver: &dyn ContainerDriver, made: &Made) -> Result<()> {
    let removed = match made.kind {
        ObjectKind::Container => driver.force_remove(&made.id).await,
        ObjectKind::Volume => driver.remove_volume(&made.id).await,
        ObjectKind::Network => driver.remove_network(&made.id).await,
        ObjectKind::Image => driver.remove_image(&made.id).await,
    };
    removed.or_else(|error: DriverError| {
        let gone = [
            "CONTAINER_NOT_FOUND",
            "VOLUME_NOT_FOUND",
            "NETWORK_NOT_FOUND",
            "IMAGE_NOT_FOUND",
        ];
        if gone.contains(&error.code()) {
            Ok(())
        } else {
            Err(error)
        }
    })
}
