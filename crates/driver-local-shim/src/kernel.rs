//! Which kernel this is.

/// Its version, of its release: `6.1.0-56-cloud-amd64` is 6, 1.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The version of the one that runs.
pub fn running_kernel() -> Option<(u32, u32)> {
    kernel_version(rustix::system::uname().release().to_str().ok()?)
}
