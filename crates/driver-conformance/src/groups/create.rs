//! `create_container`.

use driver_types::{ContainerState, ContainerStatus};

use crate::Context;
use crate::case::{CaseResult, Group};
use crate::expect;

pub(super) fn register(group: &mut Group) {
    group
        .case("returns_created", returns_created)
        .proves(&["2.table", "1.instance.fields"]);
}

async fn returns_created(cx: Context) -> CaseResult {
    let container = cx.create(&cx.config(["forever"])).await?;
    expect::equal("status", container.status, ContainerStatus::Created)?;
    expect::equal("state", container.state, ContainerState::Terminated)
}
