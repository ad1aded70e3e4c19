//! Ids.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// A text that nobody else has: 64 lower-case hexadecimal digits.
///
/// # Errors
///
/// The kernel gives no random bytes.
pub(crate) fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
