//! The store against a naive list: after any sequence of operations both tell the same.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use driver_state::{ContainerStore, Record, Reservation, Scope};
use driver_types::{ContainerFilter, ContainerInstance, ContainerStatus, Labels};
use proptest::prelude::*;

mod support;

use support::{insert, instance};

const OWNERS: [&str; 2] = ["alice", "bob"];

#[derive(Clone, Debug)]
enum Op {
    Insert {
        owner: usize,
        name: u8,
        request: Option<u8>,
        session: u8,
        label: u8,
        created_at: u64,
    },
    Reserve {
        owner: usize,
        name: u8,
        request: Option<u8>,
    },
    /// Commits the oldest open reservation.
    Commit {
        session: u8,
    },
    /// Drops the oldest open reservation.
    GiveUp,
    SetStatus {
        nth: usize,
        status: usize,
    },
    Remove {
        nth: usize,
    },
    Clear,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let request = || proptest::option::of(0..4_u8);
    let op = prop_oneof![
        8 => (0..2_usize, 0..8_u8, request(), 0..3_u8, 0..3_u8, 0..5_u64).prop_map(
            |(owner, name, request, session, label, created_at)| Op::Insert { owner, name, request, session, label, created_at }
        ),
        3 => (0..2_usize, 0..8_u8, request()).prop_map(|(owner, name, request)| Op::Reserve { owner, name, request }),
        2 => (0..3_u8).prop_map(|session| Op::Commit { session }),
        1 => Just(Op::GiveUp),
        6 => (0..20_usize, 0..7_usize).prop_map(|(nth, status)| Op::SetStatus { nth, status }),
        4 => (0..20_usize).prop_map(|nth| Op::Remove { nth }),
        1 => Just(Op::Clear),
    ];
    proptest::collection::vec(op, 1..60)
}

fn filters() -> impl Strategy<Value = ContainerFilter> {
    let status = proptest::collection::vec(0..7_usize, 0..3).prop_map(|statuses| {
        statuses
            .into_iter()
            .map(|status| ContainerStatus::ALL[status])
            .collect()
    });
    let state = proptest::option::of((0..7_usize).prop_map(|status| ContainerStatus::ALL[status].state()));
    let labels = proptest::option::of(0..4_u8).prop_map(|label| {
        label
            .map(|label| ("label".to_owned(), format!("{label}")))
            .into_iter()
            .collect()
    });
    let session = proptest::option::of((0..4_u8).prop_map(|session| format!("session-{session}")));
    let prefix = proptest::option::of(prop_oneof![Just("name"), Just("name-1"), Just("x"), Just("")]);
    (session, status, state, labels, prefix, any::<bool>()).prop_map(
        |(session_id, status, state, labels, prefix, all_owners)| ContainerFilter {
            session_id,
            status,
            state,
            labels,
            name_prefix: prefix.map(str::to_owned),
            all_owners,
        },
    )
}

/// The naive store: containers in the order of arrival, and open reservations.
#[derive(Default)]
struct Model {
    containers: Vec<(&'static str, Option<String>, ContainerInstance)>,
    reserved: Vec<(&'static str, String, Option<String>)>,
}

impl Model {
    fn is_free(&self, owner: &str, name: &str, request: Option<&String>) -> bool {
        let held = self
            .containers
            .iter()
            .map(|(owner, request, container)| (*owner, &container.name, request));
        let reserved = self
            .reserved
            .iter()
            .map(|(owner, name, request)| (*owner, name, request));
        held.chain(reserved).all(|(other, taken, taken_request)| {
            other != owner || (taken != name && (request.is_none() || taken_request.as_ref() != request))
        })
    }

    fn list(&self, owner: &str, filter: &ContainerFilter) -> Vec<ContainerInstance> {
        let mut found: Vec<_> = self
            .containers
            .iter()
            .filter(|(of, _, container)| (filter.all_owners || *of == owner) && filter.matches(container))
            .map(|(_, _, container)| container.clone())
            .collect();
        // Stable: equal times stay in the order of arrival.
        found.sort_by_key(|container| container.created_at);
        found
    }
}

/// The store and the model side by side.
#[derive(Default)]
struct Pair {
    store: ContainerStore<()>,
    model: Model,
    reservations: Vec<Reservation<()>>,
    made: usize,
}

impl Pair {
    fn new_instance(&mut self, name: &str, session: u8) -> ContainerInstance {
        self.made += 1;
        instance(&format!("id-{}", self.made), name, &format!("session-{session}"))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Insert {
                owner,
                name,
                request,
                session,
                label,
                created_at,
            } => {
                let mut container = self.new_instance(&format!("name-{name}"), session);
                container.created_at = created_at;
                container.labels = Labels::from([("label".to_owned(), label.to_string())]);
                self.insert(OWNERS[owner], request, container);
            }
            Op::Reserve { owner, name, request } => {
                self.reserve(OWNERS[owner], format!("name-{name}"), request)
            }
            Op::Commit { session } => self.commit(session),
            Op::GiveUp if !self.reservations.is_empty() => {
                drop(self.reservations.remove(0));
                self.model.reserved.remove(0);
            }
            Op::GiveUp => {}
            Op::SetStatus { nth, status } => self.set_status(nth, ContainerStatus::ALL[status]),
            Op::Remove { nth } => self.remove(nth),
            Op::Clear => {
                self.store.clear();
                self.model = Model::default();
                self.reservations.clear();
            }
        }
    }

    fn insert(&mut self, owner: &'static str, request: Option<u8>, container: ContainerInstance) {
        let request = request.map(|request| request.to_string());
        let free = self.model.is_free(owner, &container.name, request.as_ref());
        let record = Record {
            owner: owner.into(),
            request_id: request.as_deref().map(Into::into),
            instance: Arc::new(container.clone()),
            data: (),
        };
        assert_eq!(self.store.insert(record).is_ok(), free);
        if free {
            self.model.containers.push((owner, request, container));
        }
    }

    fn reserve(&mut self, owner: &'static str, name: String, request: Option<u8>) {
        let request = request.map(|request| request.to_string());
        let free = self.model.is_free(owner, &name, request.as_ref());
        match self.store.reserve(&owner.into(), &name, request.as_deref()) {
            Ok(reservation) => {
                assert!(free);
                self.reservations.push(reservation);
                self.model.reserved.push((owner, name, request));
            }
            Err(conflict) => assert!(!free, "{conflict:?}"),
        }
    }

    fn commit(&mut self, session: u8) {
        if self.reservations.is_empty() {
            return;
        }
        let (owner, name, request) = self.model.reserved.remove(0);
        let container = self.new_instance(&name, session);
        self.reservations.remove(0).commit(container.clone(), ()).unwrap();
        self.model.containers.push((owner, request, container));
    }

    fn set_status(&mut self, nth: usize, status: ContainerStatus) {
        if let Some((owner, _, container)) = self.model.containers.get_mut(nth) {
            container.status = status;
            container.state = status.state();
            self.store
                .update(Scope::Owner(owner), &container.id, |container| {
                    *container.status = status
                })
                .unwrap();
        }
    }

    fn remove(&mut self, nth: usize) {
        if nth < self.model.containers.len() {
            let (owner, _, container) = self.model.containers.remove(nth);
            let removed = self.store.remove(Scope::Owner(owner), &container.id).unwrap();
            assert_eq!(*removed.instance, container);
        }
    }

    /// Everything that can be looked up is as the model says.
    fn compare(&self) {
        let names = (0..8).map(|name| format!("name-{name}"));
        for (owner, name) in OWNERS
            .into_iter()
            .flat_map(|owner| names.clone().map(move |name| (owner, name)))
        {
            let expected = self
                .model
                .containers
                .iter()
                .find(|(of, _, container)| *of == owner && container.name == name);
            let found = self
                .store
                .read_by_name(owner, &name, |record| (*record.instance).clone());
            assert_eq!(found.as_ref(), expected.map(|(_, _, container)| container));
        }
        for owner in OWNERS {
            let of_owner = self
                .model
                .containers
                .iter()
                .filter(|(of, _, _)| *of == owner)
                .count();
            assert_eq!(self.store.count(Scope::Owner(owner)), of_owner);
            for request in (0..4).map(|request: u8| request.to_string()) {
                let expected = self
                    .model
                    .containers
                    .iter()
                    .find(|(of, taken, _)| *of == owner && taken.as_deref() == Some(&request));
                let found = self
                    .store
                    .read_by_request(owner, &request, |record| record.instance.id.clone());
                assert_eq!(found.as_ref(), expected.map(|(_, _, container)| &container.id));
            }
        }
        for (owner, _, container) in &self.model.containers {
            assert_eq!(
                *self.store.require(Scope::Owner(owner), &container.id).unwrap(),
                *container
            );
        }
    }
}

proptest! {
    #[test]
    fn the_store_and_a_naive_list_agree(ops in ops(), filters in proptest::collection::vec(filters(), 8)) {
        let mut pair = Pair::default();
        for op in &ops {
            pair.apply(op);
        }
        pair.compare();
        for filter in filters {
            for owner in OWNERS {
                let found: Vec<_> =
                    pair.store.list(Scope::Owner(owner), &filter).iter().map(|container| (**container).clone()).collect();
                prop_assert_eq!(found, pair.model.list(owner, &filter), "{:?}", filter);
            }
        }
        // Emptied, it has forgotten everything.
        while !pair.model.containers.is_empty() {
            pair.remove(0);
        }
        pair.reservations.clear();
        insert(&pair.store, "alice", instance("new", "name-0", "session-0"));
        prop_assert_eq!(pair.store.list(Scope::All, &ContainerFilter::default()).len(), 1);
    }
}
