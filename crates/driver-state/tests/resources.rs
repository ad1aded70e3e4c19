//! The resource tracker: exact sums, no leak, no double release.

#![allow(clippy::unwrap_used)]

use driver_state::{Allocation, ResourceTracker};
use driver_types::{ErrorKind, ResourceLimits};
use proptest::prelude::*;
use rstest::rstest;

const CAPACITY: ResourceLimits = ResourceLimits {
    cpu: 4.0,
    memory: 1000,
    disk: 2000,
    pids: 300,
};
const PART: ResourceLimits = ResourceLimits {
    cpu: 1.5,
    memory: 300,
    disk: 600,
    pids: 100,
};

#[rstest]
#[case::fits(CAPACITY, None)]
#[case::cpu(ResourceLimits { cpu: 4.1, ..CAPACITY }, Some(("cpu", 4.0, 4.1)))]
#[case::memory(ResourceLimits { memory: 1001, ..CAPACITY }, Some(("memory", 1000.0, 1001.0)))]
#[case::disk(ResourceLimits { disk: u64::MAX, ..CAPACITY }, Some(("disk", 2000.0, u64::MAX as f64)))]
#[case::pids(ResourceLimits { pids: 301, ..CAPACITY }, Some(("pids", 300.0, 301.0)))]
fn more_than_the_capacity_names_resource_limit_and_request(
    #[case] limits: ResourceLimits,
    #[case] expected: Option<(&str, f64, f64)>,
) {
    let tracker = ResourceTracker::new(CAPACITY);
    let results = [
        tracker.check_capacity(&limits),
        tracker.check_availability(&limits),
        tracker.allocate(&limits, 0).map(drop),
    ];
    for result in results {
        let found = result.err().map(|error| match error.kind() {
            ErrorKind::ResourceLimit {
                resource,
                limit,
                requested,
            } => (resource.clone(), *limit, *requested),
            other => panic!("another kind of error: {other:?}"),
        });
        assert_eq!(
            found,
            expected.map(|(resource, limit, requested)| (resource.to_owned(), limit, requested))
        );
    }
    assert_eq!(
        tracker.usage().allocations,
        0,
        "nothing is allocated by a failure"
    );
}

#[rstest]
#[case(f64::NAN)]
#[case(f64::INFINITY)]
#[case(-1.0)]
fn a_number_of_cores_that_is_none_is_refused(#[case] cpu: f64) {
    let tracker = ResourceTracker::new(CAPACITY);
    assert_eq!(
        tracker.allocate(&CAPACITY.cpu(cpu), 0).unwrap_err().code(),
        "CONFIGURATION_ERROR"
    );
}

#[test]
fn what_is_in_use_is_told_beside_what_is_left() {
    let tracker = ResourceTracker::new(CAPACITY);
    let first = tracker.allocate(&PART, 1000).unwrap();
    let second = tracker.allocate(&PART, 2000).unwrap();
    let error = tracker.allocate(&PART, 3000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Resource limit exceeded for cpu: requested 1.5, limit 1"
    );
    let context: Vec<_> = error
        .context()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(context, ["capacity=4", "used=3"]);
    assert!(tracker.check_capacity(&PART).is_ok());

    let usage = tracker.usage();
    assert_eq!(
        (
            usage.allocations,
            usage.used.cpu,
            usage.available.memory,
            usage.capacity.disk
        ),
        (2, 3.0, 400, 2000)
    );
    let part = tracker.utilisation();
    assert_eq!((part.cpu, part.memory, part.disk), (0.75, 0.6, 0.6));
    assert_eq!(tracker.allocations().len(), 2);
    assert_eq!(tracker.allocations()[0], *first.details());
    assert_eq!(first.details().duration(1500), 500);
    assert_eq!(
        first.details().duration(0),
        0,
        "a clock that went back gives no negative time"
    );

    drop(second);
    assert!(tracker.allocate(&PART, 4000).is_ok());
}

#[test]
fn nothing_is_released_twice() {
    let tracker = ResourceTracker::new(CAPACITY);
    let other = tracker.allocate(&PART, 0).unwrap();
    let kept = tracker.allocate(&PART, 0).unwrap().keep();
    assert_eq!(tracker.usage().allocations, 2, "keeping outlives the guard");
    assert_eq!(tracker.deallocate(kept).unwrap().limits, PART);
    assert_eq!(tracker.deallocate(kept).unwrap_err().code(), "INTERNAL_ERROR");

    let guarded = tracker.allocate(&PART, 0).unwrap();
    tracker.deallocate(guarded.id()).unwrap();
    drop(guarded);
    assert_eq!(tracker.usage().used, PART, "only the other one is left");
    drop(other);
}

#[test]
fn resizing_is_all_or_nothing() {
    let tracker = ResourceTracker::new(CAPACITY);
    let allocation = tracker.allocate(&PART, 0).unwrap();
    let too_much = tracker.resize(allocation.id(), &PART.cpu(2.0).memory(1001));
    assert_eq!(too_much.unwrap_err().code(), "RESOURCE_LIMIT_EXCEEDED");
    assert_eq!(tracker.usage().used, PART);
    // Its own share counts as free: all of the capacity fits.
    tracker.resize(allocation.id(), &CAPACITY).unwrap();
    assert_eq!(tracker.usage().used, CAPACITY);
    let id = allocation.id();
    drop(allocation);
    assert_eq!(tracker.usage().used.memory, 0);
    assert!(tracker.resize(id, &PART).is_err());
}

#[test]
fn a_resource_without_a_limit_and_one_without_capacity() {
    let unlimited = ResourceLimits {
        cpu: f64::INFINITY,
        memory: u64::MAX,
        disk: 0,
        pids: 10,
    };
    let tracker = ResourceTracker::new(unlimited);
    let all = ResourceLimits {
        cpu: 1e9,
        memory: u64::MAX,
        disk: 0,
        pids: 1,
    };
    let allocation = tracker.allocate(&all, 0).unwrap();
    assert_eq!(
        tracker.allocate(&all, 0).unwrap_err().code(),
        "RESOURCE_LIMIT_EXCEEDED",
        "sums do not wrap"
    );
    assert_eq!(tracker.utilisation().disk, 0.0);
    drop(allocation);
    assert_eq!(tracker.usage().used.memory, 0);
}

#[derive(Clone, Debug)]
enum Op {
    Allocate(u32, u64),
    Drop(usize),
    Deallocate(usize),
    Resize(usize, u32),
    Repeat(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        // Cores in hundredths: most are no exact binary fraction.
        4 => (1..200_u32, 1..400_u64).prop_map(|(cpu, memory)| Op::Allocate(cpu, memory)),
        2 => (0..8_usize).prop_map(Op::Drop),
        2 => (0..8_usize).prop_map(Op::Deallocate),
        2 => (0..8_usize, 1..200_u32).prop_map(|(nth, cpu)| Op::Resize(nth, cpu)),
        1 => (0..8_usize).prop_map(Op::Repeat),
    ];
    proptest::collection::vec(op, 1..100)
}

proptest! {
    /// The books always equal the sum of what is held, to the last hundredth of a core, and never exceed the capacity.
    #[test]
    fn the_books_are_the_sum_of_what_is_held(ops in ops()) {
        let tracker = ResourceTracker::new(CAPACITY);
        // Cores in hundredths and MiB of each open allocation.
        let mut held: Vec<(Allocation, u32, u64)> = Vec::new();
        let mut released: Vec<u64> = Vec::new();
        for op in ops {
            let cores: u32 = held.iter().map(|(_, cpu, _)| cpu).sum();
            let memory: u64 = held.iter().map(|(_, _, memory)| memory).sum();
            match op {
                Op::Allocate(cpu, mib) => {
                    let limits = ResourceLimits { cpu: f64::from(cpu) / 100.0, memory: mib, disk: 1, pids: 1 };
                    let fits = cores + cpu <= 400 && memory + mib <= 1000;
                    let allocation = tracker.allocate(&limits, 0);
                    prop_assert_eq!(allocation.is_ok(), fits);
                    held.extend(allocation.ok().map(|allocation| (allocation, cpu, mib)));
                }
                Op::Drop(nth) if nth < held.len() => released.push(held.remove(nth).0.id()),
                Op::Deallocate(nth) if nth < held.len() => {
                    let (allocation, _, _) = held.remove(nth);
                    tracker.deallocate(allocation.id()).unwrap();
                    released.push(allocation.id());
                }
                Op::Resize(nth, cpu) if nth < held.len() => {
                    let (allocation, old, _) = &mut held[nth];
                    let limits = allocation.details().limits;
                    let limits = ResourceLimits { cpu: f64::from(cpu) / 100.0, ..limits };
                    let fits = cores - *old + cpu <= 400;
                    prop_assert_eq!(tracker.resize(allocation.id(), &limits).is_ok(), fits);
                    if fits {
                        *old = cpu;
                    }
                }
                Op::Repeat(nth) if nth < released.len() => prop_assert!(tracker.deallocate(released[nth]).is_err()),
                _ => {}
            }
            let usage = tracker.usage();
            let cores: u32 = held.iter().map(|(_, cpu, _)| cpu).sum();
            prop_assert_eq!(usage.used.cpu, f64::from(cores) / 100.0);
            prop_assert_eq!(usage.used.memory, held.iter().map(|(_, _, memory)| memory).sum::<u64>());
            prop_assert_eq!((usage.allocations, usage.used.pids), (held.len(), held.len() as u64));
        }
        drop(held);
        prop_assert_eq!((tracker.usage().allocations, tracker.usage().used.cpu), (0, 0.0));
    }
}
