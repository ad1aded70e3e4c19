//! Commands on files.

use super::text::{escape, fingerprint, unhex};
use super::{Answer, Workload, usage};
use crate::fs::{Content, Errno, Inode, Kind, Sys, View};
use crate::kernel::{End, MIB};
use crate::world::Namespace;

/// Bytes that `read` shows.
const READ_LIMIT: u64 = 65_536;
/// What `fill` writes.
const FILLER: u8 = 0x5a;

impl Workload {
    pub(super) async fn files(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        if let Some(answer) = self.file_content(name, arguments) {
            return Some(answer);
        }
        if let Some(answer) = self.file_change(name, arguments) {
            return Some(answer);
        }
        match (name, arguments) {
            ("exists", [path]) => {
                let exists = self.exists(path);
                Some(Answer::End(End::Code(i32::from(!exists))))
            }
            ("wait-file", [path]) => {
                while !self.exists(path) {
                    self.context.sleep(10).await;
                }
                Some(Answer::Silent)
            }
            ("mount-at", [path]) => {
                let mount = self.mounts().into_iter().rev().find(|(point, _)| point == path);
                Some(mount.map(|(_, how)| how).ok_or(Errno::ENOENT).into())
            }
            ("mounts", []) => {
                let mounts = self.mounts();
                let lines: String = mounts
                    .iter()
                    .map(|(point, how)| format!("mount={} {how}\n", escape(point.as_bytes())))
                    .collect();
                Some(Answer::Text(format!("mounts={}\n{lines}", mounts.len())))
            }
            _ => None,
        }
    }

    fn exists(&self, path: &str) -> bool {
        self.sys(|view| view.stat(path, true)).is_ok()
    }

    /// A system call on files.
    pub(super) fn sys<R>(&self, call: impl FnOnce(&View<'_>) -> Sys<R>) -> Sys<R> {
        // A process that is dead sees nothing more; its task is about to end.
        self.context
            .view(|view| Some(call(view)))
            .unwrap_or(Err(Errno::ENOENT))
    }

    /// Mount points with their type and whether they are writable.
    fn mounts(&self) -> Vec<(String, String)> {
        self.context.view(|view| {
            let one = |mount: &crate::fs::Mount| {
                let how = if mount.read_only { "ro" } else { "rw" };
                (mount.target.to_string(), format!("{} {how}", mount.fs_type))
            };
            view.mounts.iter().map(one).collect()
        })
    }

    fn file_content(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let answer = match (name, arguments) {
            ("read", [path]) => {
                let content = self.read(path);
                content.map(|content| escape(&content.head(READ_LIMIT))).into()
            }
            ("size", [path]) => self.read(path).map(|content| fingerprint(&content)).into(),
            ("write", [path, text]) => self.write(path, text.as_bytes().to_vec(), true).into(),
            ("append", [path, text]) => self.write(path, text.as_bytes().to_vec(), false).into(),
            ("write-hex", [path, hex]) => match unhex(hex) {
                Some(bytes) => self.write(path, bytes, true).into(),
                None => usage(name),
            },
            ("fill", [path, mib]) => match mib.parse() {
                Ok(mib) => self.fill(path, mib),
                Err(_) => usage(name),
            },
            ("ls", [path]) => {
                let names = self.sys(|view| view.list(path));
                names.map(|names| escape(names.join(",").as_bytes())).into()
            }
            ("stat", [path]) => {
                let stat = self.sys(|view| view.stat(path, false));
                stat.map(|stat| {
                    format!(
                        "{} {:04o} {} {} {}",
                        stat.kind, stat.mode, stat.uid, stat.gid, stat.size
                    )
                })
                .into()
            }
            ("readlink", [path]) => {
                let target = match path
                    .strip_prefix("/proc/self/ns/")
                    .and_then(|kind| self.namespace(kind))
                {
                    Some(target) => Ok(target),
                    None => self.sys(|view| view.read_link(path)),
                };
                target.map(|target| escape(target.as_bytes())).into()
            }
            _ => return None,
        };
        Some(answer)
    }

    fn read(&self, path: &str) -> Sys<Content> {
        match path
            .strip_prefix("/proc/self/")
            .and_then(|name| self.own_proc_file(name))
        {
            Some(text) => Ok(Content::from(text)),
            None => self.sys(|view| view.read(path)),
        }
    }

    /// The namespace of a kind that the process is in, as /proc shows it: `net:[4026531840]`.
    fn namespace(&self, kind: &str) -> Option<String> {
        const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
        /// The first number of the kernel's own namespaces.
        const FIRST: u64 = 0xf000_0000;
        let index = KINDS.iter().position(|known| *known == kind)? as u64;
        let container = &self.context.sandbox.container;
        let shared = kind == "user" || (kind == "net" && container.namespace() == Namespace::Host);
        // The id is random: its first digits tell containers apart.
        let own = u64::from_str_radix(&container.id[..7], 16).unwrap_or_default();
        let number = if shared { FIRST } else { FIRST + 8 + own * 8 };
        Some(format!("{kind}:[{}]", number + index))
    }

    /// Files of /proc that differ from process to process.
    fn own_proc_file(&self, name: &str) -> Option<String> {
        match name {
            "cmdline" => {
                let argv = self.context.process(|process| process.argv.clone())?;
                Some(argv.iter().map(|word| format!("{word}\0")).collect())
            }
            "mountinfo" | "mounts" => {
                let line = |(point, how): (String, String)| format!("none {point} {how}\n");
                Some(self.mounts().into_iter().map(line).collect())
            }
            "status" => {
                let fields = [
                    "Name",
                    "State",
                    "Pid",
                    "PPid",
                    "Uid",
                    "Gid",
                    "CapEff",
                    "CapBnd",
                    "NoNewPrivs",
                    "Seccomp",
                ];
                let line = |field: &&str| Some(format!("{field}:\t{}\n", self.status(field)?));
                Some(fields.iter().filter_map(line).collect())
            }
            _ => None,
        }
    }

    fn write(&self, path: &str, bytes: Vec<u8>, truncate: bool) -> Sys<String> {
        let length = bytes.len();
        self.sys(|view| {
            let file = view.open_write(path, truncate)?;
            view.append(file, bytes.into())
        })?;
        Ok(length.to_string())
    }

    fn fill(&self, path: &str, mib: u64) -> Answer {
        let file = match self.sys(|view| view.open_write(path, true)) {
            Ok(file) => file,
            Err(errno) => return Answer::FailedText(format!("fill!{}\nfilled=0\n", errno.0)),
        };
        for done in 0..mib {
            let mut piece = Content::default();
            piece.append_repeat(FILLER, MIB);
            if let Err(errno) = self.sys(|view| view.append(file, piece)) {
                return Answer::FailedText(format!("fill!{}\nfilled={done}\n", errno.0));
            }
        }
        Answer::Value(mib.to_string())
    }

    fn file_change(&self, name: &str, arguments: &[&str]) -> Option<Answer> {
        let umask = self.context.process(|process| process.umask).unwrap_or_default();
        let number = |text: &str, radix| u32::from_str_radix(text, radix).ok();
        let done = match (name, arguments) {
            ("mkdir", [path]) => self.sys(|view| view.create(path, Inode::dir(0o777 & !umask))),
            ("rm", [path]) => self.sys(|view| view.remove(path)),
            ("rename", [old, new]) => self.sys(|view| view.rename(old, new)),
            ("link", [old, new]) => self.sys(|view| view.link(old, new)),
            ("symlink", [target, path]) => {
                let link = Inode::new(Kind::Symlink((*target).to_owned()), 0o777, 0, 0);
                self.sys(|view| view.create(path, link))
            }
            ("mkfifo", [path]) => {
                self.sys(|view| view.create(path, Inode::new(Kind::Fifo, 0o666 & !umask, 0, 0)))
            }
            ("chmod", [mode, path]) => match number(mode, 8) {
                Some(mode) => self.sys(|view| view.chmod(path, mode)),
                None => return Some(usage(name)),
            },
            ("chown", [uid, gid, path]) => match (number(uid, 10), number(gid, 10)) {
                (Some(uid), Some(gid)) => self.sys(|view| view.chown(path, uid, gid)),
                _ => return Some(usage(name)),
            },
            _ => return None,
        };
        Some(done.map(|()| "ok".to_owned()).into())
    }
}
