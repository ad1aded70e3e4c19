//! Commands about who and where the process is.

use super::text::escape;
use super::{Answer, Workload};
use crate::fs::Errno;

impl Workload {
    pub(super) fn identity(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let context = &self.context;
        let answer = match (name, arguments) {
            ("uid", []) => self.number(|process| process.credentials().uid),
            ("gid", []) => self.number(|process| process.credentials().gid),
            ("pid", []) => Answer::Value(context.pid.to_string()),
            ("ppid", []) => self.number(|process| process.parent),
            ("groups", []) => {
                let mut groups = context
                    .process(|process| process.credentials().groups.clone())
                    .unwrap_or_default();
                groups.sort_unstable();
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                Answer::Value(groups.join(","))
            }
            ("cwd", []) => {
                let cwd = context
                    .process(|process| process.cwd.to_string())
                    .unwrap_or_default();
                Answer::Value(escape(cwd.as_bytes()))
            }
            ("hostname", []) => Answer::Value(escape(context.sandbox.container.hostname.as_bytes())),
            ("umask", []) => {
                let umask = context.process(|process| process.umask).unwrap_or_default();
                Answer::Value(format!("{umask:04o}"))
            }
            ("argv0", []) => {
                let argv = context
                    .process(|process| process.argv.clone())
                    .unwrap_or_default();
                Answer::Value(escape(argv.first().map_or(b"", |word| word.as_bytes())))
            }
            ("args", words) => {
                let lines: String = words
                    .iter()
                    .map(|word| format!("arg={}\n", escape(word.as_bytes())))
                    .collect();
                Answer::Text(format!("args={}\n{lines}", words.len()))
            }
            ("env", [name]) => {
                let env = context
                    .process(|process| (**process.env).clone())
                    .unwrap_or_default();
                let value = env.get(*name).map(|value| escape(value.as_bytes()));
                value.ok_or(Errno::ENOENT).into()
            }
            ("env-names", []) => {
                let env = context
                    .process(|process| (**process.env).clone())
                    .unwrap_or_default();
                let names: Vec<String> = env.keys().map(|name| escape(name.as_bytes())).collect();
                Answer::Value(names.join(","))
            }
            ("status", [field]) => self.status(field).ok_or(Errno::ENOENT).into(),
            ("fds", []) => Answer::Value("0,1,2".to_owned()),
            _ => return None,
        };
        Some(answer)
    }

    fn number(&self, of: impl FnOnce(&crate::kernel::Process) -> u32) -> Answer {
        let number = self.context.process(|process| of(process)).unwrap_or_default();
        Answer::Value(number.to_string())
    }

    /// A field of /proc/self/status.
    pub(super) fn status(&self, field: &str) -> Option<String> {
        let context = &self.context;
        let pid = context.pid;
        context
            .process(|process| {
                let privileges = &process.privileges;
                let who = &privileges.credentials;
                let capabilities = |mask: u64| format!("{mask:016x}");
                Some(match field {
                    "Name" => "workload".to_owned(),
                    "State" => "R (running)".to_owned(),
                    "Pid" | "Tgid" => pid.to_string(),
                    "PPid" => process.parent.to_string(),
                    "TracerPid" => "0".to_owned(),
                    "Uid" => format!("{} {} {} {}", privileges.real_uid, who.uid, who.uid, who.uid),
                    "Gid" => format!("{} {} {} {}", privileges.real_gid, who.gid, who.gid, who.gid),
                    "Groups" => {
                        let groups: Vec<String> = who.groups.iter().map(u32::to_string).collect();
                        groups.join(" ")
                    }
                    "Umask" => format!("{:04o}", process.umask),
                    "Threads" => (1 + process.threads).to_string(),
                    "CapInh" | "CapAmb" => capabilities(0),
                    "CapPrm" | "CapEff" => capabilities(who.capabilities),
                    "CapBnd" => capabilities(privileges.bounding),
                    "NoNewPrivs" => u8::from(privileges.no_new_privs).to_string(),
                    "Seccomp" => if privileges.seccomp { "2" } else { "0" }.to_owned(),
                    "Seccomp_filters" => u8::from(privileges.seccomp).to_string(),
                    "VmRSS" => format!("{} kB", process.memory / 1024),
                    _ => return None,
                })
            })
            .flatten()
    }
}
