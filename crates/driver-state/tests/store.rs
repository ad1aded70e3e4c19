//! The container store: look-ups, filters, conflicts, changes.

#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use driver_state::{Applied, Conflict, ContainerStore, Record, Scope};
use driver_types::{
    Action, ContainerFilter, ContainerState, ContainerStatus, DriverError, ExitInfo, ExitReason,
    NetworkAddress, PortProtocol, PublishedPort, Transition,
};
use rstest::rstest;

mod support;

use support::{insert, instance};

const OWN: Scope<'static> = Scope::Owner("owner");

/// Containers `a`, `b`, `c` of two sessions, and `d` of another owner; `c` is older than the rest.
fn four() -> ContainerStore<()> {
    let store = ContainerStore::new();
    let labelled = |id: &str, session: &str, label: &str| {
        let mut instance = instance(id, &format!("name-{id}"), session);
        instance.labels.insert("tier".to_owned(), label.to_owned());
        instance.labels.insert("app".to_owned(), "shop".to_owned());
        instance.created_at = 100;
        instance
    };
    insert(&store, "owner", labelled("a", "one", "web"));
    insert(&store, "owner", labelled("b", "one", "db"));
    let mut c = labelled("c", "two", "web");
    c.created_at = 50;
    insert(&store, "owner", c);
    insert(&store, "other", labelled("d", "one", "web"));
    store.transition(OWN, "b", Action::Start, |_| ()).unwrap();
    store
}

fn filter(json: &str) -> ContainerFilter {
    // The wire form is the shortest way to write a filter down.
    let mut filter = ContainerFilter::default();
    for condition in json.split_terminator(' ') {
        let (key, value) = condition.split_once('=').unwrap();
        match key {
            "session" => filter.session_id = Some(value.to_owned()),
            "status" => {
                filter.status = ContainerStatus::ALL
                    .into_iter()
                    .filter(|status| value.contains(status.name()))
                    .collect()
            }
            "state" => {
                filter.state = [
                    ContainerState::Running,
                    ContainerState::Terminated,
                    ContainerState::Error,
                ]
                .into_iter()
                .find(|state| format!("{state:?}") == value)
            }
            "prefix" => filter.name_prefix = Some(value.to_owned()),
            "owners" => filter.all_owners = value == "all",
            label => {
                filter.labels.insert(label.to_owned(), value.to_owned());
            }
        }
    }
    filter
}

#[rstest]
#[case::everything("", "c a b")]
#[case::session("session=one", "a b")]
#[case::unknown_session("session=three", "")]
#[case::label("tier=web", "c a")]
#[case::two_labels("tier=web app=shop", "c a")]
#[case::unknown_label("color=red", "")]
#[case::unknown_label_value("tier=cache", "")]
#[case::status("status=created", "c a")]
#[case::statuses("status=created,running", "c a b")]
#[case::status_of_nobody("status=dead", "")]
#[case::state("state=Running", "b")]
#[case::status_against_state("status=created state=Running", "")]
#[case::prefix("prefix=name-b", "b")]
#[case::prefix_of_all("prefix=name-", "c a b")]
#[case::prefix_of_none("prefix=zzz", "")]
#[case::empty_prefix("prefix=", "c a b")]
#[case::all_of_them("session=one tier=db status=running state=Running prefix=name", "b")]
#[case::anded("session=one tier=web status=running", "")]
#[case::every_owner("owners=all", "c a b d")]
#[case::every_owner_filtered("owners=all session=one tier=web", "a d")]
fn filters_are_anded_and_the_oldest_comes_first(#[case] conditions: &str, #[case] expected: &str) {
    let found = four().list(OWN, &filter(conditions));
    let ids: Vec<&str> = found.iter().map(|container| container.id.as_str()).collect();
    assert_eq!(ids.join(" "), expected);
}

#[test]
fn an_object_of_another_owner_does_not_exist() {
    let store = four();
    assert!(store.get(OWN, "d").is_none());
    assert_eq!(
        store.require(OWN, "d").unwrap_err(),
        DriverError::container_not_found("d")
    );
    assert!(store.remove(OWN, "d").is_none());
    assert_eq!(
        store.update(OWN, "d", |_| ()).unwrap_err().code(),
        "CONTAINER_NOT_FOUND"
    );
    assert_eq!(
        store.check(OWN, "d", Action::Start).unwrap_err().code(),
        "CONTAINER_NOT_FOUND"
    );
    let stopped = store.transition(OWN, "d", Action::Stop, |_| ());
    assert_eq!(stopped.unwrap_err().code(), "CONTAINER_NOT_FOUND");
    assert!(store.get(Scope::Owner("other"), "d").is_some());
    assert!(store.get(Scope::All, "d").is_some());
    assert_eq!((store.count(OWN), store.count(Scope::All)), (3, 4));
}

#[test]
fn names_and_requests_are_unique_for_each_owner() {
    let store = ContainerStore::<()>::new();
    let owner: Arc<str> = "owner".into();
    let first = store.reserve(&owner, "web", Some("request")).unwrap();
    let pending = |result: Result<_, Conflict>| result.map(drop).unwrap_err();

    let by_name = pending(store.reserve(&owner, "web", None));
    assert_eq!(
        by_name,
        Conflict::Name {
            name: "web".to_owned(),
            holder: None
        }
    );
    // The request tells more than the name.
    let by_request = pending(store.reserve(&owner, "web", Some("request")));
    assert_eq!(
        by_request,
        Conflict::RequestId {
            request_id: "request".to_owned(),
            holder: None
        }
    );
    assert!(store.reserve(&"other".into(), "web", Some("request")).is_ok());

    first.commit(instance("id", "web", "session"), ()).unwrap();
    let holder = Some("id".to_owned());
    assert_eq!(
        pending(store.reserve(&owner, "web", None)),
        Conflict::Name {
            name: "web".to_owned(),
            holder: holder.clone()
        }
    );
    assert_eq!(
        pending(store.reserve(&owner, "other", Some("request"))),
        Conflict::RequestId {
            request_id: "request".to_owned(),
            holder
        }
    );
    assert_eq!(
        store
            .read_by_request("owner", "request", |record| record.instance.id.clone())
            .as_deref(),
        Some("id")
    );
    assert_eq!(
        store
            .read_by_name("owner", "web", |record| record.instance.id.clone())
            .as_deref(),
        Some("id")
    );
    assert!(store.read_by_name("other", "web", |_| ()).is_none());

    store.remove(OWN, "id").unwrap();
    assert!(
        store.reserve(&owner, "web", Some("request")).is_ok(),
        "removing frees both"
    );
}

#[test]
fn a_reservation_that_is_dropped_or_fails_frees_everything() {
    let store = ContainerStore::<()>::new();
    let owner: Arc<str> = "owner".into();
    drop(store.reserve(&owner, "web", Some("request")).unwrap());
    insert(&store, "owner", instance("id", "first", "session"));

    let reservation = store.reserve(&owner, "web", Some("request")).unwrap();
    assert_eq!(reservation.name(), "web");
    let wrong_name = reservation.commit(instance("id-2", "shop", "session"), ());
    assert_eq!(wrong_name.unwrap_err().code(), "INTERNAL_ERROR");

    let reservation = store.reserve(&owner, "web", Some("request")).unwrap();
    let known_id = reservation.commit(instance("id", "web", "session"), ());
    assert_eq!(known_id.unwrap_err().code(), "INTERNAL_ERROR");

    let reservation = store.reserve(&owner, "web", Some("request")).unwrap();
    store.clear();
    // Another one may claim the name now; the old ticket fits nothing any more and frees nothing of it.
    let new = store.reserve(&owner, "web", None).unwrap();
    let late = reservation.commit(instance("id-3", "web", "session"), ());
    assert_eq!(late.unwrap_err().code(), "CONTAINER_CREATION_FAILED");
    new.commit(instance("id-4", "web", "session"), ()).unwrap();
    assert_eq!(store.count(Scope::All), 1);
}

#[rstest]
#[case::name(Conflict::Name { name: "web".into(), holder: Some("id".into()) }, "CONTAINER_CREATION_FAILED", false)]
#[case::name_pending(Conflict::Name { name: "web".into(), holder: None }, "CONTAINER_CREATION_FAILED", false)]
#[case::request(Conflict::RequestId { request_id: "r".into(), holder: Some("id".into()) }, "CONFIGURATION_ERROR", false)]
#[case::request_pending(Conflict::RequestId { request_id: "r".into(), holder: None }, "CONTAINER_CREATION_FAILED", true)]
#[case::id(Conflict::Id { id: "id".into() }, "INTERNAL_ERROR", false)]
#[case::cleared(Conflict::Cleared, "CONTAINER_CREATION_FAILED", true)]
fn conflicts_are_typed_errors(#[case] conflict: Conflict, #[case] code: &str, #[case] retryable: bool) {
    let error = DriverError::from(conflict);
    assert_eq!((error.code(), error.is_retryable()), (code, retryable), "{error}");
}

/// Every cell of the state table, through the store.
#[rstest]
fn transitions_follow_the_table(
    #[values("created", "running", "paused", "stopped", "exited", "removing", "dead")] from: &str,
    #[values(
        Action::Start,
        Action::Stop,
        Action::Pause,
        Action::Resume,
        Action::Remove,
        Action::RemoveForce,
        Action::ProcessEnds
    )]
    action: Action,
) {
    let from = ContainerStatus::ALL
        .into_iter()
        .find(|status| status.name() == from)
        .unwrap();
    let store = ContainerStore::new();
    insert(&store, "owner", instance("id", "name", "session"));
    store
        .update(OWN, "id", |container| *container.status = from)
        .unwrap();

    let mut changed = false;
    let check = store.check(OWN, "id", action);
    let result = store.transition(OWN, "id", action, |_| changed = true);
    let now = store.get(OWN, "id").map(|container| container.status);
    match from.transition(action) {
        Transition::To(to) => {
            assert!(matches!(result, Ok(Applied::Changed(container)) if container.status == to));
            assert_eq!((now, changed), (Some(to), true));
            assert_eq!(check, Ok(Transition::To(to)));
        }
        Transition::NoOp => {
            assert!(matches!(result, Ok(Applied::Unchanged(container)) if container.status == from));
            assert_eq!((now, changed), (Some(from), false));
        }
        Transition::Gone => {
            assert!(matches!(result, Ok(Applied::Removed(record)) if record.instance.id == "id"));
            assert_eq!((now, changed), (None, false));
        }
        Transition::InvalidState | Transition::Impossible | Transition::RemoveRefused => {
            assert_eq!(result.unwrap_err(), from.check("id", action).unwrap_err());
            assert_eq!((now, changed), (Some(from), false));
        }
    }
}

#[test]
fn a_snapshot_does_not_change_and_the_state_follows_the_status() {
    let store = four();
    let before = store.get(OWN, "a").unwrap();
    let copy = (*before).clone();
    let Applied::Changed(after) = store
        .transition(OWN, "a", Action::Start, |container| container.begin_run(7))
        .unwrap()
    else {
        panic!("starting a created container changes it");
    };
    assert_eq!(*before, copy);
    assert_eq!(
        (after.status, after.state, after.started_at),
        (ContainerStatus::Running, ContainerState::Running, Some(7))
    );
}

#[test]
fn runs_are_counted_and_leave_nothing_published() {
    let store = four();
    let port = PublishedPort {
        container_port: 80,
        host_port: 49153,
        host_ip: "127.0.0.1".into(),
        protocol: PortProtocol::Tcp,
    };
    let exit = ExitInfo {
        exit_code: Some(3),
        signal: None,
        reason: ExitReason::Exited,
        finished_at: 20,
    };
    let start = |now: u64| {
        store
            .update(OWN, "a", |container| {
                *container.status = ContainerStatus::Running;
                container.begin_run(now);
                container.publish(vec![port.clone()]);
                container.addresses.push(NetworkAddress {
                    network: "default".into(),
                    ip: "10.0.0.2".into(),
                });
            })
            .unwrap();
        store.get(OWN, "a").unwrap()
    };
    let first = start(10);
    assert_eq!(
        (first.started_at, first.restarts, first.endpoint.as_str()),
        (Some(10), 0, "tcp://127.0.0.1:49153")
    );

    let end = |container: &mut driver_state::ContainerMut<'_, ()>| container.end_run(exit.clone());
    store.transition(OWN, "a", Action::ProcessEnds, end).unwrap();
    let ended = store.get(OWN, "a").unwrap();
    assert_eq!((ended.finished_at, ended.exit.clone()), (Some(20), Some(exit)));
    assert_eq!(
        (ended.ports.len(), ended.addresses.len(), ended.endpoint.as_str()),
        (0, 0, "test://a")
    );

    let second = start(30);
    assert_eq!(
        (
            second.started_at,
            second.finished_at,
            second.exit.clone(),
            second.restarts
        ),
        (Some(30), None, None, 1)
    );
}

#[test]
fn a_panic_in_a_change_keeps_the_indexes() {
    let store = four();
    let panicking = AssertUnwindSafe(|| {
        store.update(OWN, "a", |container| {
            *container.status = ContainerStatus::Dead;
            panic!("a bug of the driver");
        })
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = std::panic::catch_unwind(panicking);
    std::panic::set_hook(hook);
    assert!(result.is_err());
    assert_eq!(store.get(OWN, "a").unwrap().status, ContainerStatus::Created);
    assert_eq!(store.list(OWN, &filter("status=created")).len(), 2);
}

#[test]
fn data_and_request_ids_stay_with_their_container() {
    let store = ContainerStore::<Vec<u8>>::new();
    let record = Record {
        owner: "owner".into(),
        request_id: Some("request".into()),
        instance: Arc::new(instance("id", "name", "session")),
        data: vec![1],
    };
    store.insert(record.clone()).unwrap();
    let taken = store.insert(record);
    assert!(matches!(taken, Err(Conflict::RequestId { holder: Some(id), .. }) if id == "id"));
    store
        .update(OWN, "id", |container| container.data.push(2))
        .unwrap();
    assert_eq!(
        store.read_all(OWN, &ContainerFilter::default(), |record| record.data.clone()),
        [vec![1, 2]]
    );
    let removed = store.remove(OWN, "id").unwrap();
    assert_eq!(
        (removed.data, removed.request_id.as_deref()),
        (vec![1, 2], Some("request"))
    );
}
