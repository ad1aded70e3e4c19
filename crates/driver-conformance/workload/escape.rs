//! What a hostile workload tries: other processes, the programs of its host, newer and foreign system calls, races, and
//! more of everything than it should get.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use crate::system::{check, escape};
use crate::{Answer, Trouble, fail, number, print};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn ptrace(request: c_long, ...) -> c_long;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
}

const NULL: *const c_void = std::ptr::null();

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("open-write", [path]) => done(OpenOptions::new().write(true).open(at(path)).map(drop)),
        ("trace", [pid]) => number(pid).and_then(|pid| done(trace(pid))),
        ("abstract", [name]) => done(
            SocketAddr::from_abstract_name(name)
                .and_then(|address| UnixStream::connect_addr(&address))
                .map(drop),
        ),
        ("spy", [until]) => spy(at(until)),
        ("unname", []) => done(unname()),
        ("overwrite", [descriptor]) => number(descriptor).and_then(|descriptor| done(overwrite(descriptor))),
        ("swap", [one, other, count]) => swap(one, other, count),
        ("open-many", [count]) => many(count, "opened", |_| File::open("/dev/null").map(std::mem::forget)),
        ("files", [directory, count]) => many(count, "made", |index| {
            File::create(at(directory).join(index.to_string())).map(drop)
        }),
        _ => return None,
    })
}

/// Takes a name that is no text, and has what proc(5) has behind the name of a zombie.
pub fn unname() -> io::Result<()> {
    fs::write("/proc/self/comm", b"\xff) Z 1 1 1")
}

fn at(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn done(result: io::Result<()>) -> Answer {
    Ok(result.map(|()| Some("ok".to_owned()))?)
}

fn trace(pid: c_int) -> io::Result<()> {
    // SAFETY: attach and detach take a pid and two null pointers.
    unsafe {
        check(ptrace(16, pid, NULL, NULL))?;
        waitpid(pid, std::ptr::null_mut(), 0);
        check(ptrace(17, pid, NULL, NULL)).map(drop)
    }
}

/// Does it as often as asked, or until it fails; then says how often it went well.
fn many(count: &[u8], label: &str, mut step: impl FnMut(u64) -> io::Result<()>) -> Answer {
    let count: u64 = number(count)?;
    for index in 0..count {
        if let Err(error) = step(index) {
            fail(if label == "made" { "files" } else { "open-many" }, error.into());
            print(&format!("{label}={index}"));
            return Ok(None);
        }
    }
    Ok(Some(count.to_string()))
}

/// Writes the program that a descriptor is open to, as soon as nobody runs it: its first byte, which is what it was.
fn overwrite(descriptor: c_int) -> io::Result<()> {
    let path = format!("/proc/self/fd/{descriptor}");
    let mut first = [0];
    File::open(&path)?.read_exact(&mut first)?;
    let busy = |result: &io::Result<File>| matches!(result, Err(error) if error.kind() == ErrorKind::ExecutableFileBusy);
    let open = || OpenOptions::new().write(true).open(&path);
    let mut program = open();
    for _ in 0..100 {
        if !busy(&program) {
            break;
        }
        crate::pause(2);
        program = open();
    }
    program?.write_all(&first)
}

/// Exchanges two names, again and again.
fn swap(one: &[u8], other: &[u8], count: &[u8]) -> Answer {
    const AT_FDCWD: c_long = -100;
    const RENAME_EXCHANGE: c_long = 2;
    let path = |bytes| CString::new(bytes).map_err(|_| Trouble::Usage);
    let (one, other) = (path(one)?, path(other)?);
    let count: u64 = number(count)?;
    for _ in 0..count {
        // SAFETY: the paths are valid strings.
        check(unsafe {
            syscall(
                numbers::RENAMEAT2,
                AT_FDCWD,
                one.as_ptr(),
                AT_FDCWD,
                other.as_ptr(),
                RENAME_EXCHANGE,
            )
        })?;
    }
    Ok(Some(count.to_string()))
}

/// Looks at all other processes until a file appears: tries to open their programs for writing, keeps them open to write
/// them when they run no more, and notes which programs, names of variables and open files it can see.
fn spy(until: &Path) -> Answer {
    let me = std::process::id();
    // Its own output, which an init may hold open as well.
    let own: Vec<_> = ["1", "2"]
        .iter()
        .filter_map(|fd| fs::read_link(Path::new("/proc/self/fd").join(fd)).ok())
        .collect();
    let (mut written, mut rounds) = (0, 0_u64);
    let own_program = fs::read_link("/proc/self/exe")?;
    let mut held = BTreeMap::new();
    let [mut programs, mut names, mut files] = [const { BTreeSet::<String>::new() }; 3];
    while !until.exists() {
        rounds += 1;
        let _ = OpenOptions::new()
            .write(true)
            .open("/proc/self/exe")
            .map(|_| written += 1);
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid.filter(|pid| *pid != me) else {
                continue;
            };
            let of = |name: &str| format!("/proc/{pid}/{name}");
            let _ = OpenOptions::new()
                .write(true)
                .open(of("exe"))
                .map(|_| written += 1);
            let program = fs::read_link(of("exe"));
            if program.as_ref().is_ok_and(|program| *program != own_program) && !held.contains_key(&pid) {
                held.extend(File::open(of("exe")).map(|file| (pid, file)));
            }
            programs.extend(program.map(|path| escape(path.as_os_str().as_bytes())));
            let environment = fs::read(of("environ")).unwrap_or_default();
            let variables = environment
                .split(|byte| *byte == 0)
                .filter(|variable| !variable.is_empty());
            names.extend(
                variables
                    .map(|variable| escape(variable.split(|byte| *byte == b'=').next().unwrap_or_default())),
            );
            for fd in fs::read_dir(of("fd")).into_iter().flatten().flatten() {
                let file = fs::read_link(fd.path()).ok().filter(|file| !own.contains(file));
                files.extend(file.map(|path| escape(path.as_os_str().as_bytes())));
            }
        }
    }
    for (name, seen) in [("program", programs), ("name", names), ("file", files)] {
        seen.iter().for_each(|seen| print(&format!("spy-{name}={seen}")));
    }
    for file in held.values() {
        written += usize::from(overwrite(file.as_raw_fd()).is_ok());
    }
    print(&format!("spy-held={}", held.len()));
    print(&format!("spy-rounds={rounds}"));
    Ok(Some(written.to_string()))
}

/// Calls by another system call interface than the program's own: tried in a child, for they may kill.
pub fn is_foreign(name: &str) -> bool {
    name.starts_with("int80-") || name.starts_with("x32-") || name == "clone-user"
}

/// A system call that a container must not get. Nothing happens where it is allowed.
pub fn call(name: &str) -> Result<c_long, Trouble> {
    const NEW_USER: c_long = 0x1000_0000;
    // SAFETY: the arguments are valid, or null or nonsense on purpose, which the kernel refuses.
    Ok(unsafe {
        match name {
            "fsopen" => syscall(430, c"tmpfs".as_ptr(), 0),
            "fsmount" => syscall(432, -1, 0, 0),
            "fsconfig" => syscall(431, -1, 0, NULL, NULL, 0),
            "open-tree" => syscall(428, -100, c"/tmp".as_ptr(), 1),
            "move-mount" => syscall(429, -1, c"".as_ptr(), -1, c"".as_ptr(), 4),
            "mount-setattr" => syscall(442, -100, c"/tmp".as_ptr(), 0, NULL, 0),
            "pivot-root" => syscall(numbers::PIVOT_ROOT, c"/tmp".as_ptr(), c"/tmp".as_ptr()),
            "cgroup-mount" => mount(
                c"c".as_ptr(),
                c"/tmp".as_ptr(),
                c"cgroup".as_ptr(),
                0,
                c"memory".as_ptr().cast(),
            )
            .into(),
            "cgroup2-mount" => mount(c"c".as_ptr(), c"/tmp".as_ptr(), c"cgroup2".as_ptr(), 0, NULL).into(),
            "proc-mount" => mount(c"p".as_ptr(), c"/tmp".as_ptr(), c"proc".as_ptr(), 0, NULL).into(),
            "io-uring" => syscall(425, 0, NULL),
            "packet-socket" => socket(17, 3, 0).into(),
            "vsock-socket" => socket(40, 1, 0).into(),
            "pidfd-getfd" => syscall(438, -1, -1, 0),
            "clone-user" => match syscall(numbers::CLONE, NEW_USER | 17, NULL, NULL, NULL, NULL) {
                0 => std::process::exit(0),
                result => result,
            },
            _ => foreign::call(name).ok_or(Trouble::Usage)?,
        }
    })
}

#[cfg(target_arch = "x86_64")]
mod foreign {
    use std::ffi::c_long;

    /// The old 32-bit interface, by the instruction `int 0x80`.
    fn int80(number: i32, first: i32, second: i32) -> c_long {
        let result: i32;
        // SAFETY: the calls below take numbers only; ebx is put back, and the kernel may clear r8 to r11.
        unsafe {
            std::arch::asm!(
                "push rbx", "mov ebx, {first:e}", "int 0x80", "pop rbx",
                first = in(reg) first,
                inlateout("eax") number => result,
                in("ecx") second, in("edx") 0,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        failed(result)
    }

    /// The kernel's own way to say no, as errno.
    fn failed(result: i32) -> c_long {
        if (-4095..0).contains(&result) {
            // SAFETY: the place of errno is this thread's own.
            unsafe { *super::__errno_location() = -result };
            return -1;
        }
        result.into()
    }

    pub fn call(name: &str) -> Option<c_long> {
        const X32: c_long = 0x4000_0000;
        Some(match name {
            "int80-keyctl" => int80(288, 0, -3),
            "int80-unshare" => int80(310, 0x1000_0000, 0),
            "int80-bpf" => int80(357, 5, 0),
            "int80-mount" => int80(21, 0, 0),
            // SAFETY: numbers only.
            "x32-keyctl" => unsafe { super::syscall(X32 | 250, 0, -3, 0, 0, 0) },
            // SAFETY: numbers only.
            "x32-unshare" => unsafe { super::syscall(X32 | 272, 0x1000_0000) },
            _ => return None,
        })
    }
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

#[cfg(not(target_arch = "x86_64"))]
mod foreign {
    use std::ffi::c_long;

    /// There is no other interface: a call that no kernel has.
    pub fn call(name: &str) -> Option<c_long> {
        // SAFETY: no kernel knows the number.
        super::is_foreign(name).then(|| unsafe { super::syscall(100_000) })
    }
}

#[cfg(target_arch = "x86_64")]
mod numbers {
    use std::ffi::c_long;

    pub const RENAMEAT2: c_long = 316;
    pub const PIVOT_ROOT: c_long = 155;
    pub const CLONE: c_long = 56;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    use std::ffi::c_long;

    pub const RENAMEAT2: c_long = 276;
    pub const PIVOT_ROOT: c_long = 41;
    pub const CLONE: c_long = 220;
}
