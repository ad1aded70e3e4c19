//! What is read of logs of any content, with any options.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A byte at a time: the pieces that pass, which lines they belong to, and the last of those.
fn expected(written: &[Written], options: &LogOptions) -> Vec<u8> {
    struct Piece {
        line: usize,
        begins: bool,
        byte: u8,
        time: u64,
    }
    let (mut pieces, mut lines, mut current) = (Vec::new(), 0, [None; 2]);
    for frame in written {
        let wanted = match frame.stream {
            OutputStream::Stdout => options.stdout,
            OutputStream::Stderr => options.stderr,
        };
        if !wanted
            || options.since.is_some_and(|since| frame.time < since)
            || options.until.is_some_and(|until| frame.time >= until)
        {
            continue;
        }
        for byte in &frame.data {
            let line = &mut current[frame.stream as usize];
            let begins = line.is_none();
            let number = *line.get_or_insert(lines);
            lines += usize::from(begins);
            if *byte == b'\n' {
                *line = None;
            }
            pieces.push(Piece {
                line: number,
                begins,
                byte: *byte,
                time: frame.time,
            });
        }
    }
    let first = options
        .tail
        .map_or(0, |tail| lines.saturating_sub(usize::try_from(tail).unwrap()));
    let mut text = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.line >= first) {
        if piece.begins && options.timestamps {
            text.extend_from_slice(format!("1970-01-01T00:00:00.{:03}000000Z ", piece.time).as_bytes());
        }
        text.push(piece.byte);
    }
    text
}

fn streams() -> impl Strategy<Value = OutputStream> {
    prop_oneof![3 => Just(OutputStream::Stdout), 1 => Just(OutputStream::Stderr)]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![Just(b'\n'), Just(b'x'), Just(0xff), any::<u8>()],
        1..12,
    )
}

fn options() -> impl Strategy<Value = LogOptions> {
    let time = || proptest::option::weighted(0.3, 0_u64..60);
    let tail = proptest::option::weighted(0.8, 0_u64..12);
    (tail, time(), time(), any::<bool>(), any::<[bool; 2]>()).prop_map(
        |(tail, since, until, timestamps, [out, err])| LogOptions {
            tail,
            since,
            until,
            timestamps,
            stdout: out || !err,
            stderr: err,
            follow: false,
        },
    )
}

proptest! {
    #[test]
    fn text_and_frames(
        log in vec((streams(), data(), 0_u64..3), 0..30),
        max_file_bytes in 1_usize..200,
        max_files in 1_usize..5,
        torn in 0_usize..20,
        options in options(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(directory.path(), max_file_bytes, max_files);
        let mut time = 0;
        for (stream, data, later) in &log {
            time += later;
            writer.write(*stream, time, data);
        }
        writer.append(&frame(OutputStream::Stdout, time, b"torn\n")[..torn]);
        let expected = expected(&writer.left(), &options);
        let frames = rest(&mut Reading::begin(directory.path(), &options).unwrap());
        prop_assert_eq!(&bytes_of(&frames), &expected);
        prop_assert_eq!(text(directory.path(), &options).unwrap(), String::from_utf8_lossy(&expected));
    }

    /// Whatever the pieces, the files and the moments of reading: a follower gets everything, once and in order.
    #[test]
    fn follow(
        before in vec((streams(), data()), 0..10),
        log in vec((streams(), data(), 0_usize..40, any::<bool>()), 0..20),
        from_end in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(directory.path(), 60, usize::MAX);
        for (stream, data) in &before {
            writer.write(*stream, 0, data);
        }
        let options = LogOptions::follow();
        let mut reading = Reading::begin(directory.path(), &options).unwrap();
        let mut expected = Vec::new();
        if from_end {
            reading.reader = Reader::at_end(directory.path()).unwrap();
        } else {
            expected.extend(before.iter().flat_map(|(_, data)| data.clone()));
        }
        let mut found = Vec::new();
        for (stream, data, cut, rotate) in &log {
            let bytes = frame(*stream, 0, data);
            let cut = (*cut).min(bytes.len());
            writer.append(&bytes[..cut]);
            found.extend(rest(&mut reading));
            writer.append(&bytes[cut..]);
            expected.extend_from_slice(data);
            if *rotate {
                writer.rotate();
            }
        }
        found.extend(rest(&mut reading));
        prop_assert_eq!(bytes_of(&found), expected);
    }
}

#[test]
fn what_is_no_frame_ends_its_file_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 1000, 10);
    let out = OutputStream::Stdout;
    writer.write(out, 0, b"a\n");
    writer.append(&[0xff; 64]);
    writer.append(&frame(out, 0, b"lost\n"));
    writer.rotate();
    writer.write(out, 0, b"b\n");
    writer.append(&frame(out, 0, b"torn\n")[..HEADER + 2]);
    writer.rotate();
    writer.write(out, 0, b"c\n");
    for follow in [false, true] {
        let options = LogOptions {
            follow,
            ..LogOptions::default()
        };
        let mut reading = Reading::begin(directory.path(), &options).unwrap();
        assert_eq!(bytes_of(&rest(&mut reading)), b"a\nb\nc\n");
    }
    let tail = text(directory.path(), &LogOptions::tail(2)).unwrap();
    assert_eq!(tail, "b\nc\n");
}

#[test]
fn a_log_that_is_not_there_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("log");
    for options in [LogOptions::default(), LogOptions::tail(0), LogOptions::tail(3)] {
        assert_eq!(text(&missing, &options).unwrap(), "");
    }
    let mut reading = Reading::begin(&missing, &LogOptions::follow()).unwrap();
    assert_eq!(rest(&mut reading), []);
    fs::create_dir(&missing).unwrap();
    Writer::new(&missing, 1000, 2).write(OutputStream::Stdout, 0, b"first\n");
    assert_eq!(bytes_of(&rest(&mut reading)), b"first\n");
}
