//! What the standard library does not offer: signals, errno names, and system calls that a container must not get.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use crate::{Answer, Trouble, text};

#[repr(C)]
#[derive(Default)]
struct TimeSpec {
    seconds: i64,
    nanos: c_long,
}

unsafe extern "C" {
    fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize;
    fn _exit(code: c_int) -> !;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn setsid() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn geteuid() -> u32;
    fn getegid() -> u32;
    fn getgroups(size: c_int, list: *mut u32) -> c_int;
    fn mkfifo(path: *const c_char, mode: u32) -> c_int;
    fn mknod(path: *const c_char, mode: u32, device: u64) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn ptrace(request: c_long, ...) -> c_long;
    fn chroot(path: *const c_char) -> c_int;
    fn setuid(uid: u32) -> c_int;
    fn sethostname(name: *const c_char, length: usize) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// Names by number: errno(3) of Linux, those that a container may meet.
const ERRNOS: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (32, "EPIPE"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (39, "ENOTEMPTY"),
    (40, "ELOOP"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (104, "ECONNRESET"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (122, "EDQUOT"),
];

const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        // SAFETY: these cannot fail and touch no memory.
        ("uid", []) => Ok(Some(unsafe { geteuid() }.to_string())),
        // SAFETY: as above.
        ("gid", []) => Ok(Some(unsafe { getegid() }.to_string())),
        ("groups", []) => groups(),
        ("cwd", []) => match std::env::current_dir() {
            Ok(path) => Ok(Some(escape(path.as_os_str().as_bytes()))),
            Err(error) => Err(error.into()),
        },
        ("hostname", []) => match std::fs::read("/proc/sys/kernel/hostname") {
            Ok(name) => Ok(Some(escape(name.trim_ascii_end()))),
            Err(error) => Err(error.into()),
        },
        ("umask", []) => status_field("Umask"),
        ("status", [field]) => status_field(&text(field)),
        ("argv0", []) => Ok(arguments_of_process().first().map(|word| escape(word))),
        ("env", [name]) => match std::env::var_os(std::ffi::OsStr::from_bytes(name)) {
            Some(value) => Ok(Some(escape(value.as_bytes()))),
            None => Err(Trouble::Word("ENOENT")),
        },
        ("env-names", []) => {
            let mut names: Vec<_> = std::env::vars_os().map(|(name, _)| name.into_vec()).collect();
            names.sort();
            Ok(Some(
                names
                    .iter()
                    .map(|name| escape(name))
                    .collect::<Vec<_>>()
                    .join(","),
            ))
        }
        ("fds", []) => descriptors(),
        ("try", [name]) => attempt(&text(name)),
        ("try-here", [name]) => attempt_here(&text(name)),
        _ => return None,
    })
}

pub fn arguments() -> Vec<Vec<u8>> {
    arguments_of_process()
}

fn arguments_of_process() -> Vec<Vec<u8>> {
    std::env::args_os().map(OsStringExt::into_vec).collect()
}

/// Printable ASCII stays, but the backslash.
pub fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => escaped.push_str("\\\\"),
            b'\n' => escaped.push_str("\\n"),
            b'\r' => escaped.push_str("\\r"),
            b'\t' => escaped.push_str("\\t"),
            b' '..=b'~' => escaped.push(char::from(*byte)),
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

pub fn errno_name(error: &io::Error) -> String {
    let number = error.raw_os_error().unwrap_or(0);
    let known = ERRNOS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("E{number}"), |(_, name)| (*name).to_owned())
}

/// Writes without a buffer; an error of the write is ignored, as the language says.
pub fn write_all(descriptor: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let written = unsafe { write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

pub fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub fn signal_number(name: &str) -> Result<i32, Trouble> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let by_name = SIGNALS
        .iter()
        .position(|known| *known == short)
        .map(|index| index as i32 + 1);
    by_name
        .or_else(|| short.parse().ok().filter(|number| (1..=64).contains(number)))
        .ok_or(Trouble::Usage)
}

pub fn kill_process(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { kill(pid, signal) }.into()).map(drop)
}

/// What a trapped signal exits with; negative: the program goes on.
static EXIT_CODES: [AtomicI32; 65] = [const { AtomicI32::new(-1) }; 65];

/// Runs in signal context: only write(2) and _exit(2).
extern "C" fn on_signal(number: c_int) {
    let mut line = [0; 24];
    let mut length = 0;
    let mut push = |part: &[u8]| {
        line[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    };
    push(b"trap=SIG");
    match SIGNALS.get(number as usize - 1) {
        Some(name) => push(name.as_bytes()),
        None => push(&[b'0' + number as u8 / 10, b'0' + number as u8 % 10]),
    }
    push(b"\n");
    write_all(1, &line[..length]);
    let code = EXIT_CODES[number as usize].load(Ordering::Relaxed);
    if code >= 0 {
        // SAFETY: async-signal-safe.
        unsafe { _exit(code) }
    }
}

/// `ignore` or `trap`, and for a trap whether it ends the program.
pub fn handle(how: &str, number: i32, exit_code: Option<i32>) -> Answer {
    const SIG_IGN: usize = 1;
    EXIT_CODES[number as usize].store(exit_code.unwrap_or(-1), Ordering::Relaxed);
    let handler = if how == "ignore" {
        SIG_IGN
    } else {
        on_signal as *const () as usize
    };
    // SAFETY: the handler is async-signal-safe.
    if unsafe { signal(number, handler) } == usize::MAX {
        return Err(io::Error::last_os_error().into());
    }
    Ok(None)
}

pub fn new_session() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { setsid() }.into()).map(drop)
}

/// Kills and reaps all children, and returns how many there were.
pub fn kill_children() -> usize {
    let me = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = kill_process(child, 9);
    }
    let mut reaped = 0;
    // SAFETY: a null status is allowed.
    while unsafe { waitpid(-1, std::ptr::null_mut(), 0) } > 0 {
        reaped += 1;
    }
    reaped
}

pub fn make_fifo(path: &[u8]) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path is a valid string.
    check(unsafe { mkfifo(path.as_ptr(), 0o666) }.into()).map(drop)
}

/// Rows and columns.
pub fn window_size(descriptor: i32) -> io::Result<(u16, u16)> {
    const TIOCGWINSZ: c_ulong = 0x5413;
    let mut size = [0_u16; 4];
    // SAFETY: the kernel writes four 16-bit numbers.
    check(unsafe { ioctl(descriptor, TIOCGWINSZ, size.as_mut_ptr()) }.into())?;
    Ok((size[0], size[1]))
}

/// Processor time of this process.
pub fn cpu_time() -> Duration {
    const CLOCK_PROCESS_CPUTIME_ID: c_int = 2;
    let mut time = TimeSpec::default();
    // SAFETY: the kernel writes one timespec.
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.seconds as u64, time.nanos as u32)
}

fn groups() -> Answer {
    let mut ids = vec![0_u32; 65_536];
    // SAFETY: the list has room for as many ids as it says.
    let count = check(unsafe { getgroups(ids.len() as c_int, ids.as_mut_ptr()) }.into())?;
    ids.truncate(count as usize);
    ids.sort_unstable();
    Ok(Some(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")))
}

fn status_field(field: &str) -> Answer {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.ok_or(Trouble::Word("ENOENT"))?;
    Ok(Some(value.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn descriptors() -> Answer {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    // The one that was used to look is closed by now.
    numbers.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    numbers.sort_unstable();
    Ok(Some(
        numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    ))
}

/// What changes the process is tried in a child.
fn attempt(name: &str) -> Answer {
    if [
        "unshare-user",
        "unshare-mount",
        "unshare-net",
        "setns",
        "chroot",
        "setuid",
    ]
    .contains(&name)
        || crate::escape::is_foreign(name)
    {
        let output = Command::new("/proc/self/exe").args(["try-here", name]).output()?;
        let line = text(&output.stdout);
        return match line.trim().split_once(['=', '!']) {
            Some((_, "ok")) => Ok(Some("ok".to_owned())),
            Some((_, word)) => Err(Trouble::Word(Box::leak(word.to_owned().into_boxed_str()))),
            // A filter may kill, and so does a kernel that does not know the instruction.
            None if output.status.code().is_none() => Err(Trouble::Word("KILLED")),
            None => Err(Trouble::Usage),
        };
    }
    attempt_here(name)
}

fn attempt_here(name: &str) -> Answer {
    const NULL: *const c_void = std::ptr::null();
    // SAFETY: the arguments are valid, or null or nonsense on purpose, which the kernel refuses.
    let result = unsafe {
        match name {
            "mount" => {
                let mounted = mount(c"tmpfs".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, NULL).into();
                check(mounted)?;
                umount2(c"/tmp".as_ptr(), 0).into()
            }
            "umount" => umount2(c"/proc".as_ptr(), 0).into(),
            "unshare-user" => unshare(0x1000_0000).into(),
            "unshare-mount" => unshare(0x0002_0000).into(),
            "unshare-net" => unshare(0x4000_0000).into(),
            "setns" => {
                let namespace = std::fs::File::open("/proc/1/ns/net")?;
                setns(std::os::fd::AsRawFd::as_raw_fd(&namespace), 0).into()
            }
            "ptrace" => trace_parent()?,
            "bpf" => syscall(numbers::BPF, 5, NULL, 0),
            "keyctl" => syscall(numbers::KEYCTL, 0, -3, 0, 0, 0),
            "add-key" => syscall(numbers::ADD_KEY, NULL, NULL, NULL, 0, -3),
            "perf" => syscall(numbers::PERF_EVENT_OPEN, NULL, 0, -1, -1, 0),
            "userfaultfd" => syscall(numbers::USERFAULTFD, 0),
            "kexec" => syscall(numbers::KEXEC_LOAD, 0, 0, NULL, -1_i64),
            "init-module" => syscall(numbers::INIT_MODULE, NULL, 0, NULL),
            "open-by-handle" => syscall(numbers::OPEN_BY_HANDLE_AT, -1, NULL, 0),
            "chroot" => chroot(c"/tmp".as_ptr()).into(),
            "mknod" => {
                check(mknod(c"/tmp/null-device".as_ptr(), 0o20_666, 0x103).into())?;
                std::fs::remove_file("/tmp/null-device")?;
                0
            }
            "setuid" => setuid(0).into(),
            "sethostname" => {
                let name = std::fs::read("/proc/sys/kernel/hostname")?;
                let name = name.trim_ascii_end();
                sethostname(name.as_ptr().cast(), name.len()).into()
            }
            "raw-socket" => {
                let descriptor = socket(2, 3, 1);
                check(descriptor.into())?;
                close(descriptor).into()
            }
            "write-sysrq" => open_for_writing("/proc/sysrq-trigger")?,
            "write-sysctl" => open_for_writing("/proc/sys/kernel/hostname")?,
            "read-kcore" => {
                let mut byte = [0];
                match io::Read::read(&mut std::fs::File::open("/proc/kcore")?, &mut byte)? {
                    0 => return Err(Trouble::Word("EMPTY")),
                    _ => 0,
                }
            }
            _ => crate::escape::call(name)?,
        }
    };
    check(result)?;
    Ok(Some("ok".to_owned()))
}

fn open_for_writing(path: &str) -> io::Result<c_long> {
    std::fs::OpenOptions::new().write(true).open(path).map(|_| 0)
}

fn trace_parent() -> io::Result<c_long> {
    const ATTACH: c_long = 16;
    const DETACH: c_long = 17;
    let parent = (std::os::unix::process::parent_id() as c_int).max(1);
    const NULL: *const c_void = std::ptr::null();
    // SAFETY: the requests take a pid and two null pointers.
    unsafe {
        check(ptrace(ATTACH, parent, NULL, NULL))?;
        waitpid(parent, std::ptr::null_mut(), 0);
        check(ptrace(DETACH, parent, NULL, NULL))
    }
}

#[cfg(target_arch = "x86_64")]
mod numbers {
    use std::ffi::c_long;

    pub const BPF: c_long = 321;
    pub const KEYCTL: c_long = 250;
    pub const ADD_KEY: c_long = 248;
    pub const PERF_EVENT_OPEN: c_long = 298;
    pub const USERFAULTFD: c_long = 323;
    pub const KEXEC_LOAD: c_long = 246;
    pub const INIT_MODULE: c_long = 175;
    pub const OPEN_BY_HANDLE_AT: c_long = 304;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    use std::ffi::c_long;

    pub const BPF: c_long = 280;
    pub const KEYCTL: c_long = 219;
    pub const ADD_KEY: c_long = 217;
    pub const PERF_EVENT_OPEN: c_long = 241;
    pub const USERFAULTFD: c_long = 282;
    pub const KEXEC_LOAD: c_long = 104;
    pub const INIT_MODULE: c_long = 105;
    pub const OPEN_BY_HANDLE_AT: c_long = 265;
}
