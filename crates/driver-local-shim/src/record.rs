//! The journal records that a shim appends: JSON, one a line, read by `driver-local`. They outlive the driver, so their
//! form only ever grows.

/// The run has a first process, whose program is about to begin.
pub fn forked(run: u32, init_pid: i32, init_start_time: u64, boot_id: &str) -> String {
    format!(
        "{{\"forked\":{{\"run\":{run},\"initPid\":{init_pid},\"initStartTime\":{init_start_time},\
         \"bootId\":\"{boot_id}\"}}}}\n"
    )
}

/// The main process has been executed.
pub fn started(run: u32, init_pid: i32, init_start_time: u64, boot_id: &str, at_ms: u64) -> String {
    format!(
        "{{\"started\":{{\"run\":{run},\"initPid\":{init_pid},\"initStartTime\":{init_start_time},\
         \"bootId\":\"{boot_id}\",\"at\":{at_ms}}}}}\n"
    )
}

/// The kernel killed a process of the container for the memory limit.
pub fn out_of_memory(run: u32, at_ms: u64) -> String {
    format!("{{\"oom\":{{\"run\":{run},\"at\":{at_ms}}}}}\n")
}

/// The run has ended: all its processes are gone and its log is complete. `code` is 128 + number for a signal; `clean`: its cgroups
/// are gone, too.
pub fn exited(run: u32, code: u8, signal: Option<u8>, oom: bool, clean: bool, at_ms: u64) -> String {
    let signal = signal.map_or_else(|| "null".to_owned(), |signal| signal.to_string());
    format!(
        "{{\"exited\":{{\"run\":{run},\"code\":{code},\"signal\":{signal},\"oom\":{oom},\"clean\":{clean},\
         \"at\":{at_ms}}}}}\n"
    )
}

/// A shim goes on where the one before was killed.
pub fn adopted(run: u32, at_ms: u64) -> String {
    format!("{{\"adopted\":{{\"run\":{run},\"at\":{at_ms}}}}}\n")
}

/// The run has ended, and nobody knows how.
pub fn lost(run: u32, at_ms: u64) -> String {
    format!("{{\"lost\":{{\"run\":{run},\"at\":{at_ms}}}}}\n")
}
