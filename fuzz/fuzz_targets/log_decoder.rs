//! Any bytes as a log reply: it ends in entries or an error, nothing is made up, and what is decoded does not depend
//! on how the reply is cut.
//!
//! The same as properties on stable: `crates/driver-docker/src/log_decoder_tests.rs`.

#![no_main]

use driver_docker::fuzzing::{Decoded, decode_log};
use libfuzzer_sys::fuzz_target;

/// All content of one stream.
fn content(decoded: &Decoded, stderr: bool) -> Vec<u8> {
    let entries = decoded.entries.iter().filter(|entry| entry.2 == stderr);
    entries.flat_map(|entry| entry.1.clone()).collect()
}

fuzz_target!(|input: (bool, bool, u8, Vec<u8>)| {
    let (tty, mend, cut, wire) = input;
    let pieces = decode_log(tty, mend, &wire, usize::from(cut));
    let whole = decode_log(tty, mend, &wire, wire.len());
    assert_eq!(pieces.failed, whole.failed);
    for stderr in [false, true] {
        let content = content(&pieces, stderr);
        assert_eq!(content, self::content(&whole, stderr));
        // A line end that is put back stands for a whole entry, which has a header of eight bytes or a full buffer.
        assert!(content.len() <= wire.len() + wire.len() / 8);
        assert!(mend || content.len() <= wire.len());
    }
    assert!(pieces.entries.iter().all(|entry| !entry.1.is_empty()));
});
