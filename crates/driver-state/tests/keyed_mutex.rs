//! The keyed lock on a real runtime; its races are in `src/races.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use driver_state::KeyedMutex;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_key_is_exclusive_and_other_keys_are_not_affected() {
    let mutex = KeyedMutex::new();
    let guard = mutex.lock("one").await;
    assert!(mutex.try_lock("one").is_none());
    let _other = mutex.lock("two").await;
    assert!(
        timeout(Duration::from_secs(60), mutex.lock("one")).await.is_err(),
        "it waits while the key is held"
    );
    assert_eq!(
        format!("{guard:?} {mutex:?}"),
        "KeyedGuard { key: Some(\"one\") } KeyedMutex { locked: 2 }"
    );
    drop(guard);
    assert!(timeout(Duration::from_secs(60), mutex.lock("one")).await.is_ok());
    assert_eq!(mutex.locked(), 1, "only the other key is left");
}

#[tokio::test(start_paused = true)]
async fn those_who_give_up_leave_nothing_behind() {
    let mutex = KeyedMutex::new();
    let guard = mutex.lock("key").await;
    for _ in 0..1000 {
        let gave_up = timeout(Duration::from_millis(1), mutex.lock("key")).await;
        assert!(gave_up.is_err());
    }
    drop(guard);
    assert_eq!(mutex.locked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_few_keys_never_meet() {
    let mutex = KeyedMutex::new();
    let inside: Arc<[AtomicUsize; 3]> = Arc::default();
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let (mutex, inside) = (mutex.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                let key = number % 3;
                let _guard = mutex.lock(&key.to_string()).await;
                assert_eq!(inside[key].fetch_add(1, SeqCst), 0);
                tokio::task::yield_now().await;
                inside[key].fetch_sub(1, SeqCst);
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    assert_eq!(mutex.locked(), 0);
}
