//! Configs and options of any content survive the wire.

#![allow(clippy::unwrap_used)]

use driver_types::{
    ContainerConfig, ContainerFilter, ContainerStatus, Env, ExecSpec, HealthCheckConfig, Labels, MountType,
    PortMapping, PortProtocol, PullPolicy, ResourceLimits, SeccompProfile, SecurityOptions, Signal,
    TerminalSize, TmpfsMount, VolumeMount,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/._-]{0,12}", any::<String>()]
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(text(), text(), 0..3)
}

fn signal() -> impl Strategy<Value = Signal> {
    (1..=64_i32).prop_map(|number| Signal::from_number(number).unwrap())
}

/// Cores in thousandths: serde_json reads numbers of up to 15 digits exactly, longer ones to the last bit but one.
fn resources() -> impl Strategy<Value = ResourceLimits> {
    let cpu = any::<u32>().prop_map(|thousandths| f64::from(thousandths) / 1000.0);
    (cpu, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(cpu, memory, disk, pids)| ResourceLimits {
        cpu,
        memory,
        disk,
        pids,
    })
}

fn volume() -> impl Strategy<Value = VolumeMount> {
    let mount_type = of(prop_oneof![Just(MountType::Bind), Just(MountType::Volume)]);
    (text(), text(), any::<bool>(), mount_type).prop_map(|(source, target, read_only, mount_type)| {
        VolumeMount {
            source,
            target,
            read_only,
            mount_type,
        }
    })
}

fn port() -> impl Strategy<Value = PortMapping> {
    let protocol = of(prop_oneof![Just(PortProtocol::Tcp), Just(PortProtocol::Udp)]);
    (any::<u16>(), of(any::<u16>()), of(text()), protocol).prop_map(
        |(container_port, host_port, host_ip, protocol)| PortMapping {
            container_port,
            host_port,
            host_ip,
            protocol,
        },
    )
}

fn security() -> impl Strategy<Value = SecurityOptions> {
    (any::<bool>(), text(), vec(text(), 0..3), any::<bool>()).prop_map(|(flag, user, add, unconfined)| {
        let seccomp = if unconfined {
            SeccompProfile::Unconfined
        } else {
            SeccompProfile::Default
        };
        let mut security = SecurityOptions::default()
            .read_only(flag)
            .no_new_privileges(!flag)
            .user(user)
            .seccomp(seccomp);
        security.capabilities.add = add;
        security
    })
}

fn healthcheck() -> impl Strategy<Value = HealthCheckConfig> {
    (
        vec(text(), 0..3),
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
    )
        .prop_map(
            |(test, interval_ms, timeout_ms, retries, start_period_ms)| HealthCheckConfig {
                test,
                interval_ms,
                timeout_ms,
                retries,
                start_period_ms,
            },
        )
}

fn config() -> impl Strategy<Value = ContainerConfig> {
    let names = (
        text(),
        text(),
        of(text()),
        of(text()),
        of(vec(text(), 0..3)),
        of(vec(text(), 0..3)),
        of(text()),
    );
    let maps = (labels(), labels(), labels(), vec(text(), 0..3));
    let mounts = (
        vec(volume(), 0..3),
        of(vec((text(), any::<u64>()), 0..3)),
        vec(port(), 0..3),
    );
    let policy = prop_oneof![
        Just(PullPolicy::Never),
        Just(PullPolicy::Missing),
        Just(PullPolicy::Always)
    ];
    let rest = (
        resources(),
        security(),
        of(healthcheck()),
        of(signal()),
        policy,
        any::<[bool; 3]>(),
        text(),
        of(text()),
    );
    (names, maps, mounts, rest).prop_map(|(names, maps, mounts, rest)| {
        let (session_id, image, name, request_id, entrypoint, command, working_dir) = names;
        let (env, labels, extra_hosts, dns) = maps;
        let (volumes, tmpfs, ports) = mounts;
        let (
            resources,
            security,
            healthcheck,
            stop_signal,
            pull_policy,
            [init, stdin, tty],
            network,
            hostname,
        ) = rest;
        let tmpfs = tmpfs.map(|mounts| {
            mounts
                .into_iter()
                .map(|(target, size_mib)| TmpfsMount { target, size_mib })
                .collect()
        });
        ContainerConfig {
            session_id,
            image,
            name,
            request_id,
            entrypoint,
            command,
            working_dir,
            env: Env(env),
            labels,
            resources,
            volumes,
            tmpfs,
            ports,
            network,
            hostname,
            dns,
            extra_hosts,
            security,
            healthcheck,
            init,
            stdin,
            tty,
            stop_signal,
            pull_policy,
        }
    })
}

fn filter() -> impl Strategy<Value = ContainerFilter> {
    let status = (0..7_usize).prop_map(|status| ContainerStatus::ALL[status]);
    (
        of(text()),
        vec(status.clone(), 0..3),
        of(status),
        labels(),
        of(text()),
        any::<bool>(),
    )
        .prop_map(
            |(session_id, statuses, state, labels, name_prefix, all_owners)| ContainerFilter {
                session_id,
                status: statuses,
                state: state.map(ContainerStatus::state),
                labels,
                name_prefix,
                all_owners,
            },
        )
}

fn exec() -> impl Strategy<Value = ExecSpec> {
    let size = of((any::<u16>(), any::<u16>()).prop_map(|(rows, columns)| TerminalSize { rows, columns }));
    let stdin = of(vec(any::<u8>(), 0..50));
    (
        vec(text(), 0..3),
        labels(),
        of(text()),
        size,
        stdin,
        any::<[bool; 2]>(),
        of(any::<u64>()),
    )
        .prop_map(
            |(command, env, working_dir, terminal_size, stdin, [tty, attach_stdin], number)| ExecSpec {
                command,
                env: Env(env),
                user: working_dir.clone(),
                working_dir,
                tty,
                terminal_size,
                stdin: stdin.map(Into::into),
                attach_stdin,
                timeout_ms: number,
                max_output_bytes: number,
            },
        )
}

proptest! {
    #[test]
    fn configs(config in config()) {
        let text = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<ContainerConfig>(&text).unwrap(), config);
    }

    #[test]
    fn filters(filter in filter()) {
        let text = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(serde_json::from_str::<ContainerFilter>(&text).unwrap(), filter);
    }

    #[test]
    fn execs(spec in exec()) {
        let text = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<ExecSpec>(&text).unwrap(), spec);
    }

    /// Env values are secrets: no debug output of a config has them.
    #[test]
    fn debug_output_has_no_secret(config in config(), secret in "[a-z]{20}") {
        let config = config.env("TOKEN", secret.as_str());
        let shown = format!("{config:?}");
        prop_assert!(!shown.contains(&secret));
    }
}
