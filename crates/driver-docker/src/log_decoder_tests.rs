//! Tests of the log decoder, hostile bytes among them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const STAMP: &str = "2026-11-23T20:25:39.361928463Z";
const TIME: u64 = 1_795_465_539_361;

fn frame(channel: u8, text: &[u8]) -> Vec<u8> {
    let data = [STAMP.as_bytes(), b" ", text].concat();
    let mut frame = vec![channel, 0, 0, 0];
    frame.extend((data.len() as u32).to_be_bytes());
    frame.extend(data);
    frame
}

/// What the engine stores: lines, and pieces of 16 KiB of longer ones.
fn stored(output: &[u8]) -> Vec<&[u8]> {
    let lines = output.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| {
            // A line end is not counted into the engine's buffer before it is seen.
            line.chunks(ENTRY_BYTES)
        })
        .collect()
}

fn decode(tty: bool, wire: &[u8], cut: usize) -> (Vec<Entry>, Option<Failure>) {
    let mut decoder = LogDecoder::new(tty);
    let mut entries = Vec::new();
    for bytes in wire.chunks(cut) {
        decoder.push(Bytes::copy_from_slice(bytes));
        let held = decoder.current.held.len();
        assert!(held <= ENTRY_BYTES + MAX_STAMP, "{held} bytes are held back");
    }
    decoder.finish();
    loop {
        match decoder.next() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None),
            Err(failure) => return (entries, Some(failure)),
        }
    }
}

fn joined(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.data.to_vec()).collect()
}

/// Output with what a hostile program would print: headers, times, long lines.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..50),
        Just(vec![1, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
        Just(format!("{STAMP} ").into_bytes()),
        Just(b"\n".to_vec()),
        (1_usize..40_000).prop_map(|length| vec![b'x'; length]),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn framed_output_is_exact(output in output(), cut in 1_usize..5000) {
        let wire: Vec<u8> = stored(&output).into_iter().flat_map(|entry| frame(1, entry)).collect();
        let (entries, failure) = decode(false, &wire, cut);
        prop_assert_eq!(failure, None);
        prop_assert_eq!(joined(&entries), output);
        prop_assert!(entries.iter().all(|entry| entry.time == TIME));
    }

    #[test]
    fn raw_output_is_exact(output in output(), cut in 1_usize..5000) {
        let entries = stored(&output).into_iter();
        let wire: Vec<u8> = entries.flat_map(|entry| [STAMP.as_bytes(), b" ", entry].concat()).collect();
        let (entries, failure) = decode(true, &wire, cut);
        prop_assert_eq!(failure, None);
        prop_assert_eq!(joined(&entries), output);
        prop_assert!(entries.iter().all(|entry| entry.time == TIME));
    }

    #[test]
    fn any_bytes_end_in_entries_or_an_error(wire in output(), cut in 1_usize..5000, tty in any::<bool>()) {
        let (entries, _) = decode(tty, &wire, cut);
        prop_assert!(joined(&entries).len() <= wire.len());
    }
}

#[test]
fn line_starts_are_known_for_each_stream() {
    let wire = [
        frame(1, b"a"),
        frame(2, b"b\n"),
        frame(1, b"c\n"),
        frame(2, b"d"),
        frame(1, b"e"),
    ]
    .concat();
    let (entries, _) = decode(false, &wire, 7);
    let starts: Vec<_> = entries
        .iter()
        .map(|entry| (entry.data.as_ref(), entry.begins_line))
        .collect();
    assert_eq!(
        starts,
        [
            (b"a".as_slice(), true),
            (b"b\n", true),
            (b"c\n", false),
            (b"d", true),
            (b"e", true)
        ]
    );
}

#[test]
fn an_entry_without_a_time_is_content_with_the_time_before() {
    let mut wire = frame(1, b"a\n");
    wire.extend([1, 0, 0, 0, 0, 0, 0, 5]);
    wire.extend(b"plain");
    let (entries, _) = decode(false, &wire, 3);
    assert_eq!(entries[1].data.as_ref(), b"plain");
    assert_eq!((entries[1].time, entries[1].stamp.len()), (TIME, 0));
    let (entries, _) = decode(true, b"no time here\nnor here", 4);
    assert_eq!(joined(&entries), b"no time here\nnor here");
}

#[test]
fn what_the_engine_says_itself_is_an_error() {
    let mut wire = frame(1, b"a\n");
    wire.extend([3, 0, 0, 0, 0, 0, 0, 4]);
    wire.extend(b"oops");
    let (entries, failure) = decode(false, &wire, 100);
    assert_eq!(entries.len(), 1);
    assert!(failure.unwrap().message().contains("oops"));
}

#[test]
fn a_reply_that_ends_within_a_frame_is_an_error() {
    let wire = frame(2, b"complete\n");
    let (_, failure) = decode(false, &wire[..wire.len() - 1], 100);
    assert!(failure.is_some());
}

#[test]
fn a_line_end_that_the_log_driver_lost_is_put_back() {
    let full = vec![b'x'; ENTRY_BYTES];
    let wire = [
        frame(1, &full),
        frame(1, b"rest"),
        frame(1, b"next\n"),
        frame(1, b"end"),
    ]
    .concat();
    let mut decoder = LogDecoder::new(false).mend_line_ends(true);
    decoder.push(wire.into());
    decoder.finish();
    let mut text = Vec::new();
    while let Some(entry) = decoder.next().unwrap() {
        text.extend_from_slice(&entry.data);
    }
    assert_eq!(text, [full.as_slice(), b"rest\nnext\nend"].concat());
}
