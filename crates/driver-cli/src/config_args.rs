//! The flags of `run`, `create` and `plan` that make a container config.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use driver_types::{
    ContainerConfig, HealthCheckConfig, PortMapping, PullPolicy, SeccompProfile, Signal, TmpfsMount,
    VolumeMount,
};

use crate::failure::Failure;
use crate::parse;

/// What a container is to be. What is not given has the secure default of the contract.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Session that the container belongs to
    #[arg(long, value_name = "ID", default_value = "cli", env = "DRIVER_SESSION")]
    pub session: String,
    /// Name, unique in the driver
    #[arg(long)]
    pub name: Option<String>,
    /// Idempotency key: a repeat with the same flags gives the same container
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// When the image is pulled
    #[arg(long, value_name = "WHEN", value_parser = pull_policy, default_value = "missing",
          help = "When the image is pulled: always, missing or never")]
    pub pull: PullPolicy,

    /// Environment variable; NAME alone takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Process")]
    pub env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub env_file: Vec<PathBuf>,
    /// Program that runs instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM", help_heading = "Process")]
    pub entrypoint: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "PATH", help_heading = "Process")]
    pub workdir: Option<String>,
    /// User name or uid, with a group
    #[arg(
        short,
        long,
        value_name = "USER[:GROUP]",
        help_heading = "Process",
        help = "User name or uid, with a group [default: 1000:1000]"
    )]
    pub user: Option<String>,
    /// Keep stdin open
    #[arg(short, long, help_heading = "Process")]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long, help_heading = "Process")]
    pub tty: bool,
    /// Run a pid 1 that reaps zombies and forwards signals
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, value_name = "BOOL", hide_possible_values = true, help_heading = "Process")]
    pub init: bool,
    /// What `stop` sends first
    #[arg(long, value_name = "SIGNAL", value_parser = signal, help_heading = "Process", help = "What `stop` sends first [default: SIGTERM]")]
    pub stop_signal: Option<Signal>,

    /// Memory, as in 256m or 1g
    #[arg(short, long, value_name = "SIZE", value_parser = parse::size_mib, help_heading = "Limits", help = "Memory, as in 256m or 1g [default: 512m]")]
    pub memory: Option<u64>,
    /// Processor cores, as in 1.5
    #[arg(
        long,
        value_name = "CORES",
        help_heading = "Limits",
        help = "Processor cores, as in 1.5 [default: 0.5]"
    )]
    pub cpus: Option<f64>,
    /// Processes and threads
    #[arg(
        long,
        value_name = "N",
        help_heading = "Limits",
        help = "Processes and threads [default: 100]"
    )]
    pub pids_limit: Option<u64>,
    /// Writable layer, as in 2g
    #[arg(long, value_name = "SIZE", value_parser = parse::size_mib, help_heading = "Limits", help = "Writable layer, as in 2g [default: 1g]")]
    pub disk: Option<u64>,

    /// Named volume or directory of the host
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]", value_parser = parse::volume, help_heading = "Files")]
    pub volume: Vec<VolumeMount>,
    /// File system in memory, 64m without a size; replaces the default one at /tmp
    #[arg(long, value_name = "TARGET[:size=SIZE]", value_parser = parse::tmpfs, help_heading = "Files")]
    pub tmpfs: Vec<TmpfsMount>,
    /// Mount the root file system read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, value_name = "BOOL", hide_possible_values = true, help_heading = "Files")]
    pub read_only: bool,

    /// none, host, default (outbound NAT), or a network of `network create`
    #[arg(long, visible_alias = "net", value_name = "NAME", default_value = ContainerConfig::NETWORK_NONE, help_heading = "Network")]
    pub network: String,
    /// Publish a port; on 127.0.0.1 and a free port unless given
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTO]", value_parser = parse::port, help_heading = "Network")]
    pub publish: Vec<PortMapping>,
    /// Host name inside
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub hostname: Option<String>,
    /// Address of a name server
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub dns: Vec<String>,
    /// Further host name
    #[arg(long, value_name = "NAME:IP", value_parser = parse::extra_host, help_heading = "Network")]
    pub add_host: Vec<(String, String)>,

    /// Linux capability to add
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub cap_add: Vec<String>,
    /// Linux capability to drop; ALL are dropped in any case unless `none` is given
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub cap_drop: Vec<String>,
    /// no-new-privileges[=BOOL] (default true), seccomp=default|unconfined
    #[arg(long, value_name = "OPTION", value_parser = security_option, help_heading = "Security")]
    pub security_opt: Vec<SecurityOption>,

    /// Shell command that tells whether the container is healthy
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub health_cmd: Option<String>,
    /// Time between two checks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd", help_heading = "Health")]
    pub health_interval: Option<u64>,
    /// Time after which a check has failed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd", help_heading = "Health")]
    pub health_timeout: Option<u64>,
    /// Failures in a row that make it unhealthy [default: 3]
    #[arg(long, value_name = "N", requires = "health_cmd", help_heading = "Health")]
    pub health_retries: Option<u32>,
    /// Time after the start while failures do not count [default: 0]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd", help_heading = "Health")]
    pub health_start_period: Option<u64>,
    /// Switch the health check of the image off
    #[arg(long, conflicts_with = "health_cmd", help_heading = "Health")]
    pub no_healthcheck: bool,

    // One positional: everything after the image belongs to the process, as with Docker.
    /// The image, then the command that runs instead of the image's; `--` between them may be left out
    #[arg(value_name = "IMAGE", required = true, num_args = 1.., trailing_var_arg = true,
          allow_hyphen_values = true)]
    pub image_and_command: Vec<String>,
}

/// One `--security-opt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// `no-new-privileges`.
    NoNewPrivileges(bool),
    /// `seccomp`.
    Seccomp(SeccompProfile),
}

fn security_option(text: &str) -> Result<SecurityOption, String> {
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    Ok(match (name, value) {
        ("no-new-privileges", None | Some("true")) => SecurityOption::NoNewPrivileges(true),
        ("no-new-privileges", Some("false")) => SecurityOption::NoNewPrivileges(false),
        ("seccomp", Some("unconfined")) => SecurityOption::Seccomp(SeccompProfile::Unconfined),
        ("seccomp", Some("default")) => SecurityOption::Seccomp(SeccompProfile::Default),
        _ => return Err("it can be no-new-privileges=true|false or seccomp=default|unconfined".to_owned()),
    })
}

fn pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err("it can be always, missing or never".to_owned()),
    }
}

/// Reads a signal.
pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    text.parse()
        .map_err(|_| "not a signal; use a name such as SIGTERM or a number from 1 to 64".to_owned())
}

impl ConfigArgs {
    /// The config. Reads the env files and the environment of this program where flags say so.
    pub(crate) fn into_config(self) -> Result<ContainerConfig, Failure> {
        let (image, command) = split_command(self.image_and_command)?;
        let mut config = ContainerConfig::new(self.session, image);
        config.name = self.name;
        config.request_id = self.request_id;
        config.pull_policy = self.pull;
        config.entrypoint = self.entrypoint.map(|program| vec![program]);
        config.command = (!command.is_empty()).then_some(command);
        config.working_dir = self.workdir;
        config.stdin = self.interactive;
        config.tty = self.tty;
        config.init = self.init;
        config.stop_signal = self.stop_signal;
        config.volumes = self.volume;
        config.tmpfs = (!self.tmpfs.is_empty()).then_some(self.tmpfs);
        config.network = self.network;
        config.ports = self.publish;
        config.hostname = self.hostname;
        config.dns = self.dns;
        config.extra_hosts = self.add_host.into_iter().collect();
        config.labels = self.label.iter().map(|label| parse::key_value(label)).collect();

        let lookup = |name: &str| std::env::var(name).ok();
        for file in &self.env_file {
            config.env.extend(parse::env_file(file, lookup)?);
        }
        config
            .env
            .extend(parse::env_pairs(self.env.iter().map(String::as_str), lookup));

        let limits = &mut config.resources;
        limits.memory = self.memory.unwrap_or(limits.memory);
        limits.cpu = self.cpus.unwrap_or(limits.cpu);
        limits.pids = self.pids_limit.unwrap_or(limits.pids);
        limits.disk = self.disk.unwrap_or(limits.disk);

        let security = &mut config.security;
        security.read_only = self.read_only;
        security.user = self.user.unwrap_or_else(|| std::mem::take(&mut security.user));
        security.capabilities.add = self.cap_add;
        security.capabilities.drop = dropped(self.cap_drop);
        for option in self.security_opt {
            match option {
                SecurityOption::NoNewPrivileges(value) => security.no_new_privileges = value,
                SecurityOption::Seccomp(profile) => security.seccomp = profile,
            }
        }

        config.healthcheck = match self.health_cmd {
            None if self.no_healthcheck => Some(health_check(vec!["NONE".to_owned()])),
            None => None,
            Some(command) => {
                let mut check = health_check(vec!["CMD-SHELL".to_owned(), command]);
                check.interval_ms = self.health_interval.unwrap_or(check.interval_ms);
                check.timeout_ms = self.health_timeout.unwrap_or(check.timeout_ms);
                check.retries = self.health_retries.unwrap_or(check.retries);
                check.start_period_ms = self.health_start_period.unwrap_or(check.start_period_ms);
                Some(check)
            }
        };
        Ok(config)
    }
}

fn health_check(test: Vec<String>) -> HealthCheckConfig {
    HealthCheckConfig {
        test,
        ..HealthCheckConfig::command(Vec::<String>::new())
    }
}

/// Splits the words of a positional that takes everything: what is named first, and the command for it. A `--` between
/// them does not count.
///
/// # Errors
///
/// A first word that begins with `-` is a flag that clap does not know. Only its name is told: a value may be a secret.
pub(crate) fn split_command(words: Vec<String>) -> Result<(String, Vec<String>), Failure> {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    if first.starts_with('-') {
        let flag = first.split('=').next().unwrap_or_default();
        return Err(Failure::usage(format!("unexpected argument '{flag}' found")));
    }
    let mut command: Vec<String> = words.collect();
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    Ok((first, command))
}

/// Dropping some must not confine less than dropping nothing: all are dropped unless `none` is said.
fn dropped(names: Vec<String>) -> Vec<String> {
    match names.as_slice() {
        [none] if none.eq_ignore_ascii_case("none") => Vec::new(),
        _ if names.iter().any(|name| name.eq_ignore_ascii_case("none")) => names
            .into_iter()
            .filter(|name| !name.eq_ignore_ascii_case("none"))
            .collect(),
        _ => vec!["ALL".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: ConfigArgs,
    }

    fn config(line: &[&str]) -> Result<ContainerConfig, String> {
        let words = std::iter::once("run").chain(line.iter().copied());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.config
            .into_config()
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn without_flags_it_is_the_default_of_the_contract() {
        assert_eq!(config(&["busybox"]), Ok(ContainerConfig::new("cli", "busybox")));
    }

    #[test]
    fn all_flags() {
        let line = "--session s --name n --request-id r -l a=b -l c --pull never -e A=1 --entrypoint /bin/sh -w /w -u 0:0 \
            -i -t --init=false --stop-signal INT -m 1g --cpus 1.5 --pids-limit 7 --disk 2g -v data:/data:ro --tmpfs /run:size=8m \
            --read-only=false --network default -p 8080:80 --hostname h --dns 1.1.1.1 --add-host db:10.0.0.5 --cap-add NET_ADMIN \
            --security-opt no-new-privileges=false --security-opt seccomp=unconfined --health-interval 5s --health-retries 2 \
            --health-cmd true busybox -- ls -l --rm";
        let words: Vec<_> = line.split_whitespace().collect();
        let config = config(&words).expect("a config");
        insta::assert_json_snapshot!(config);
    }

    #[rstest]
    #[case(&["i"], None)]
    #[case(&["i", "--"], None)]
    #[case(&["i", "ls", "-l"], Some(&["ls", "-l"][..]))]
    #[case(&["i", "--", "ls", "--", "x"], Some(&["ls", "--", "x"][..]))]
    #[case(&["i", "ls", "--", "-x"], Some(&["ls", "--", "-x"][..]))]
    #[case(&["i", "-e", "x"], Some(&["-e", "x"][..]))]
    #[case(&["--", "i", "ls"], Some(&["ls"][..]))]
    fn what_follows_the_image_is_the_command(#[case] line: &[&str], #[case] command: Option<&[&str]>) {
        let config = config(line).expect("a config");
        let expected = command.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!((config.image.as_str(), config.command), ("i", expected));
    }

    #[rstest]
    #[case(&[], &["ALL"])]
    #[case(&["NET_RAW"], &["ALL"])]
    #[case(&["none"], &[])]
    #[case(&["none", "NET_RAW"], &["NET_RAW"])]
    fn dropping_never_confines_less(#[case] names: &[&str], #[case] expected: &[&str]) {
        assert_eq!(
            dropped(names.iter().map(|name| (*name).to_owned()).collect()),
            expected
        );
    }

    #[rstest]
    #[case(&["-m", "512", "i"], "write 512m")]
    #[case(&["-v", "/data", "i"], "SOURCE:TARGET")]
    #[case(&["-p", "80-90:80", "i"], "range")]
    #[case(&["--security-opt", "apparmor=x", "i"], "seccomp=default|unconfined")]
    #[case(&["--pull", "sometimes", "i"], "always, missing or never")]
    #[case(&["--stop-signal", "SIGX", "i"], "SIGTERM")]
    #[case(&["--health-retries", "2", "i"], "--health-cmd")]
    #[case(&["-e", "A=1"], "IMAGE")]
    fn mistakes_name_the_way_out(#[case] line: &[&str], #[case] expected: &str) {
        let text = config(line).expect_err("a mistake");
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn no_mistake_shows_a_value_of_the_environment() {
        let text = config(&["-e", "TOKEN=hunter2", "--bogus=hunter2", "i"]).expect_err("a mistake");
        assert!(text.contains("--bogus") && !text.contains("hunter2"), "{text}");
    }
}
