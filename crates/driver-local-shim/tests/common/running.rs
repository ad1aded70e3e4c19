//! A container that runs, and execs in it as the driver would have them.

use std::io::{Read, Write};
use std::path::Path;

use driver_exec_guard::{self as guard, Command, Decoder, Frame};
use driver_local_shim::{ExecTarget, ExecTask, Mount, MountSource, Process, RunTask, Task};

use super::{Place, Shim, kill, until};

/// A container that runs until it is killed.
pub struct Running {
    pub place: Place,
    shim: Shim,
    pub pid: i32,
    start_time: u64,
    pub task: RunTask,
}

impl Running {
    pub fn new(change: impl FnOnce(&mut RunTask, &mut Place)) -> Self {
        let mut place = Place::new();
        let mut task = place.script("echo ready; while :; do sleep 1; done");
        // The driver's shim is static; that of the tests needs a loader for the guard's second half.
        task.sandbox.mounts = ["/lib", "/lib64"]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .map(library)
            .collect();
        change(&mut task, &mut place);
        let (shim, pid, start_time) = Shim::begin(task.clone());
        until("the program", || place.log().0 == "ready\n");
        Self {
            place,
            shim,
            pid,
            start_time,
            task,
        }
    }

    pub fn target(&self) -> ExecTarget {
        ExecTarget {
            init_pid: self.pid,
            init_start_time: self.start_time,
            user_namespace: false,
            cgroups: self.task.cgroups.clone(),
        }
    }

    pub fn exec_task(&self, script: &str) -> ExecTask {
        ExecTask {
            target: self.target(),
            process: Process {
                argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
                ..self.task.process.clone()
            },
            guard_arguments: Vec::new(),
        }
    }

    pub fn exec(&self, script: &str, change: impl FnOnce(&mut ExecTask)) -> Shim {
        let mut task = self.exec_task(script);
        change(&mut task);
        Shim::spawn(Task::Exec(Box::new(task)))
    }

    pub fn end(self) {
        kill(self.pid, 9);
        self.place.end(self.shim).signal(9);
    }
}

fn library(path: &str) -> Mount {
    Mount {
        target: path.to_owned(),
        source: MountSource::Bind(path.to_owned()),
        read_only: true,
    }
}

/// Stdout, stderr and the exit of a guard that has ended.
pub fn finish(shim: &mut Shim) -> (String, String, Option<(u8, u8)>) {
    let mut decoder = Decoder::default();
    let (mut out, mut err, mut exit) = (Vec::new(), Vec::new(), None);
    let mut bytes = [0; 4096];
    loop {
        while let Some(report) = decoder.decode().unwrap() {
            match report {
                guard::Report::Stdout(data) => out.extend(data),
                guard::Report::Stderr(data) => err.extend(data),
                guard::Report::Exited { code, signal, .. } => exit = Some((code, signal)),
                guard::Report::End => {
                    shim.child.wait().unwrap();
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    return (text(out), text(err), exit);
                }
                guard::Report::StartFailed(reason) => panic!("{reason}"),
                _ => {}
            }
        }
        match shim.socket.read(&mut bytes).unwrap() {
            0 => panic!("the guard is gone: {:?}", (out, err, exit)),
            count => decoder.push(&bytes[..count]),
        }
    }
}

/// Ends the stdin of an exec.
pub fn close_stdin(shim: &mut Shim) {
    let mut wire = Vec::new();
    Command::CloseStdin.encode(&mut wire);
    shim.socket.write_all(&wire).unwrap();
}
