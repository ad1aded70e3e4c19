//! The driver on scripted worlds: what the conformance suite cannot see.

use std::time::Duration;

use driver_types::{
    ContainerConfig, ContainerDriver, ContainerDriverExt, ContainerFilter, ContainerStatus, Deadlines,
    DriverError, ExitReason, HealthStatus, LogOptions, Operation, PullRequest, ReapPolicy, Signal,
    StopOptions, VolumeMount,
};
use rstest::rstest;

use crate::{
    Behavior, Clock, Delay, End, Fault, HealthChange, MockDriver, MockOptions, ProcessRule, Profile,
    RegistryImage, Script, World,
};

fn world(script: Script) -> World {
    World::with_script(Profile::Docker, script, Clock::tokio())
}

fn open(world: &World) -> MockDriver {
    MockDriver::open(world, MockOptions::default()).unwrap()
}

fn config(command: &[&str]) -> ContainerConfig {
    ContainerConfig::new("session", "alpine").command(command.iter().copied())
}

/// Runs a command to its end: the container's log, and how it ended.
async fn finish(driver: &MockDriver, command: &[&str]) -> (String, driver_types::ExitInfo) {
    let container = driver.run_container(&config(command)).await.unwrap();
    let exit = driver.wait_exit(&container.id).await.unwrap();
    let log = driver
        .get_container_logs(&container.id, &LogOptions::default())
        .await
        .unwrap();
    (log, exit)
}

#[tokio::test(start_paused = true)]
async fn processes_do_what_their_rule_says() {
    let build = Behavior::default()
        .line("compiling")
        .run_ms(60_000)
        .end(End::ExitCode(3));
    let crash = Behavior::default().end(End::Signal(Signal::from_number(11).unwrap()));
    let script = Script::default()
        .process(ProcessRule::command(["build"], build))
        .process(ProcessRule::command(["crash"], crash))
        .process(ProcessRule::command(["eat"], Behavior::default().end(End::Oom)));
    let world = world(script);
    let driver = open(&world);
    let before = world.clock().now_ms();
    let (log, exit) = finish(&driver, &["build", "--release"]).await;
    assert_eq!((log.as_str(), exit.exit_code), ("compiling\n", Some(3)));
    assert_eq!(exit.finished_at - before, 60_000);
    let (_, exit) = finish(&driver, &["crash"]).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(139), ExitReason::Signaled));
    let (_, exit) = finish(&driver, &["eat"]).await;
    assert_eq!((exit.exit_code, exit.reason), (Some(137), ExitReason::Oom));
    assert_eq!(finish(&driver, &["echo", "a", "b"]).await.0, "a b\n");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ignores_sigterm_is_killed_after_the_grace_time() {
    let stubborn = Behavior::default().ignore(Signal::TERM);
    let world = world(Script::default().process(ProcessRule::command(["stubborn"], stubborn)));
    let driver = open(&world);
    let container = driver.run_container(&config(&["stubborn"])).await.unwrap();
    let before = world.clock().now_ms();
    driver
        .stop_container(&container.id, &StopOptions::timeout(7_000))
        .await
        .unwrap();
    assert_eq!(world.clock().now_ms() - before, 7_000);
    let container = driver.require_container(&container.id).await.unwrap();
    assert_eq!(container.status, ContainerStatus::Stopped);
    assert_eq!(container.exit.unwrap().exit_code, Some(137));
}

#[tokio::test(start_paused = true)]
async fn scripted_health_changes() {
    let change = |after_ms, status| HealthChange { after_ms, status };
    let sick = Behavior {
        health: vec![
            change(100, HealthStatus::Healthy),
            change(100, HealthStatus::Unhealthy),
        ],
        ..Behavior::default()
    };
    let world = world(Script::default().process(ProcessRule::image("alpine", sick)));
    let driver = open(&world);
    let container = driver.run_container(&config(&["sh"])).await.unwrap();
    world.clock().sleep(Duration::from_millis(150)).await;
    assert!(driver.is_container_healthy(&container.id).await.unwrap());
    world.clock().sleep(Duration::from_millis(100)).await;
    assert!(!driver.is_container_healthy(&container.id).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn delays_and_deadlines_follow_the_clock() {
    let world = world(Script::default().delay(Operation::CreateContainer, Delay::fixed(500)));
    let driver = open(&world);
    let before = world.clock().now_ms();
    driver.create_container(&config(&["sh"])).await.unwrap();
    assert_eq!(world.clock().now_ms() - before, 500);
    let options = MockOptions {
        deadlines: Deadlines::default().with(Operation::CreateContainer, Some(Duration::from_millis(499))),
        ..MockOptions::default()
    };
    let hasty = MockDriver::open(&world, options).unwrap();
    let error = hasty.create_container(&config(&["sh"])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Operation create_container timed out after 499ms"
    );
    assert_eq!(
        driver
            .list_containers(&ContainerFilter::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn faults_hit_the_call_that_they_name() {
    let refused = Fault::error(Operation::StartContainer, DriverError::network("cut")).nth(2);
    let world = world(
        Script::default()
            .fault(refused)
            .fault(Fault::hang(Operation::HealthCheck)),
    );
    let driver = open(&world);
    let container = driver.run_container(&config(&["sh"])).await.unwrap();
    let error = driver.start_container(&container.id).await.unwrap_err();
    assert_eq!(
        (error.code(), error.operation()),
        ("NETWORK_ERROR", Some("start_container"))
    );
    driver.start_container(&container.id).await.unwrap();
    assert_eq!(driver.health_check().await.unwrap_err().code(), "TIMEOUT_ERROR");
    world.clear_faults();
    assert!(driver.health_check().await.unwrap().is_healthy());
    assert_eq!(world.calls(Operation::StartContainer), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_can_be_asked_for_again() {
    let world = world(Script::default().fault(Fault::drop_reply(Operation::CreateContainer).nth(1)));
    let driver = open(&world);
    let config = config(&["sh"]).request_id("once");
    assert!(driver.create_container(&config).await.unwrap_err().is_retryable());
    let container = driver.create_container(&config).await.unwrap();
    let listed = driver.list_containers(&ContainerFilter::default()).await.unwrap();
    assert_eq!(listed, [container]);
}

#[tokio::test(start_paused = true)]
async fn a_half_made_container_is_recovered_and_reaped() {
    let world = world(Script::default().fault(Fault::PartialCreate { nth: None }));
    let driver = open(&world);
    driver.create_container(&config(&["sh"])).await.unwrap_err();
    drop(driver);
    let driver = open(&world);
    let report = driver.recover().await.unwrap();
    assert_eq!(report.orphaned.len(), 1);
    assert_eq!(world.leftovers("default").len(), 1);
    assert!(
        driver
            .reap(&ReapPolicy::default())
            .await
            .unwrap()
            .removed
            .is_empty(),
        "it is too young"
    );
    let policy = ReapPolicy {
        grace_ms: Some(0),
        ..ReapPolicy::default()
    };
    assert_eq!(driver.reap(&policy).await.unwrap().removed.len(), 1);
    assert!(world.leftovers("default").is_empty());
}

#[rstest]
#[case(Profile::Docker, ContainerStatus::Exited)]
#[case(Profile::Local, ContainerStatus::Stopped)]
#[tokio::test(start_paused = true)]
async fn the_world_outlives_its_drivers(#[case] profile: Profile, #[case] remembered: ContainerStatus) {
    let world = World::new(profile);
    let driver = open(&world);
    let running = driver.run_container(&config(&["sh"])).await.unwrap();
    let stopped = driver.run_container(&config(&["sh"])).await.unwrap();
    driver
        .stop_container(&stopped.id, &StopOptions::default())
        .await
        .unwrap();
    assert_eq!(
        driver.require_container(&stopped.id).await.unwrap().status,
        ContainerStatus::Stopped
    );
    drop(driver);
    let driver = open(&world);
    let report = driver.recover().await.unwrap();
    assert_eq!(report.adopted[0].id, running.id);
    assert_eq!(
        (report.exited[0].id.as_str(), report.exited[0].status),
        (stopped.id.as_str(), remembered)
    );
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_is_told_apart_from_one_that_refuses() {
    let world = World::new(Profile::Local);
    let driver = open(&world);
    let container = driver.run_container(&config(&["sh"])).await.unwrap();
    world.engine_down();
    let error = driver.get_container(&container.id).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("NETWORK_ERROR", true));
    assert!(!driver.health_check().await.unwrap().is_healthy());
    assert!(!driver.preflight().await.unwrap().is_ok());
    world.engine_up();
    assert_eq!(
        driver.require_container(&container.id).await.unwrap().status,
        ContainerStatus::Running
    );
    world.reset();
    assert!(
        driver
            .list_containers(&ContainerFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.calls(Operation::GetContainer), 0);
}

#[tokio::test(start_paused = true)]
async fn pulls_of_one_reference_are_done_once() {
    let image = RegistryImage {
        layers: vec![1, 2],
        layer_ms: 100,
        ..RegistryImage::new("slow:1")
    };
    let mut script = Script::default();
    script.registry.push(image);
    let world = world(script);
    let driver = open(&world);
    let request = PullRequest::new("slow:1");
    let (one, two) = tokio::join!(driver.pull_image_wait(&request), driver.pull_image_wait(&request));
    assert_eq!(one.unwrap().id, two.unwrap().id);
    assert_eq!(world.registry_reads("slow:1"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_original_numbers_hold() {
    let world = world(Script::original(Profile::Docker));
    let driver = open(&world);
    let mut config = config(&["sh"])
        .network("default")
        .port(driver_types::PortMapping::tcp(80));
    config.resources.cpu = 4.5;
    let error = driver.create_container(&config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Resource limit exceeded for cpu: requested 4.5, limit 4"
    );
    config.resources.cpu = 4.0;
    let container = driver.run_container(&config).await.unwrap();
    assert_eq!(container.endpoint, "tcp://127.0.0.1:8080");
    let error = driver
        .stop_container(&container.id, &StopOptions::timeout(4_999))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "CONFIGURATION_ERROR");
    driver
        .stop_container(&container.id, &StopOptions::timeout(5_000))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn binds_show_the_simulated_host() {
    let world = world(Script {
        host_files: true,
        ..Script::default()
    });
    world.make_host_dir("/srv");
    world.write_host_file("/srv/in", "hello\n").unwrap();
    let driver = open(&world);
    let config = config(&["cat", "/data/in"]).volume(VolumeMount::new("/srv", "/data"));
    let container = driver.run_container(&config).await.unwrap();
    driver.wait_exit(&container.id).await.unwrap();
    let log = driver
        .get_container_logs(&container.id, &LogOptions::default())
        .await
        .unwrap();
    assert_eq!(log, "hello\n");
    driver
        .write_file(&container.id, "/data/out", b"back", 0o644)
        .await
        .unwrap();
    assert_eq!(world.read_host_file("/srv/out").unwrap(), b"back");
}

#[tokio::test]
async fn on_a_manual_clock_nothing_happens_by_itself() {
    let clock = Clock::manual(1_000_000);
    let world = World::with_script(Profile::Docker, Script::default(), clock.clone());
    let driver = open(&world);
    let container = driver.run_container(&config(&["sleep", "5"])).await.unwrap();
    clock.advance(Duration::from_millis(4_999)).await;
    assert_eq!(
        driver.require_container(&container.id).await.unwrap().status,
        ContainerStatus::Running
    );
    clock.advance(Duration::from_millis(1)).await;
    let ended = driver.require_container(&container.id).await.unwrap();
    assert_eq!(
        (ended.status, ended.finished_at),
        (ContainerStatus::Exited, Some(1_005_000))
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_needs_no_task() {
    let world = World::new(Profile::Docker);
    let driver = open(&world);
    let container = driver.run_container(&config(&["sh"])).await.unwrap();
    let sandbox = driver.sandbox(&container.id).unwrap();
    let tasks = sandbox.with_kernel(|kernel, _| {
        kernel
            .processes
            .values()
            .filter(|process| process.task.is_some())
            .count()
    });
    assert_eq!(tasks, 0);
}
