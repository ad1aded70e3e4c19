//! Readings while a writer is at it, and of large logs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const OUT: OutputStream = OutputStream::Stdout;

/// A line with its number.
fn line(number: u64) -> Vec<u8> {
    format!("{number} {}\n", "x".repeat((number % 97) as usize)).into_bytes()
}

/// The numbers of the lines in some text, each of which must be whole.
fn numbers_in(text: &str) -> Vec<u64> {
    let number = |text: &str| {
        let (number, rest) = text.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        assert_eq!(rest.len() as u64, number % 97, "{text}");
        number
    };
    text.lines().map(number).collect()
}

fn assert_in_order(numbers: &[u64]) {
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// Files are deleted under the readers all the time. What they get is whole and in order; at the end it is the last line.
#[test]
fn a_writer_that_rotates() {
    const LINES: u64 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let (path, done) = (directory.path(), AtomicBool::new(false));
    let mut follower = Reading::begin(path, &LogOptions::follow()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::new(path, 4000, 3);
            (0..LINES).for_each(|number| writer.write(OUT, number, &line(number)));
            done.store(true, Ordering::Release);
        });
        let mut followed = Vec::new();
        let mut is_done = false;
        while !is_done {
            is_done = done.load(Ordering::Acquire);
            followed.extend(bytes_of(&rest(&mut follower)));
            let now = numbers_in(&text(path, &LogOptions::default()).unwrap());
            assert!(now.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{now:?}");
            let tail = numbers_in(&text(path, &LogOptions::tail(5)).unwrap());
            assert!(tail.len() <= 5, "{tail:?}");
            assert_in_order(&tail);
        }
        let followed = numbers_in(&String::from_utf8(followed).unwrap());
        assert_in_order(&followed);
        assert_eq!(followed.last(), Some(&(LINES - 1)));
    });
}

/// Nothing is deleted: nothing may be missing.
#[test]
fn a_writer_that_keeps_everything() {
    const LINES: u64 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let (path, done) = (directory.path(), AtomicBool::new(false));
    let mut follower = Reading::begin(path, &LogOptions::follow()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::new(path, 20_000, usize::MAX);
            (0..LINES).for_each(|number| writer.write(OUT, number, &line(number)));
            done.store(true, Ordering::Release);
        });
        let mut followed = Vec::new();
        let mut is_done = false;
        while !is_done {
            is_done = done.load(Ordering::Acquire);
            followed.extend(bytes_of(&rest(&mut follower)));
        }
        let followed = numbers_in(&String::from_utf8(followed).unwrap());
        assert!(followed.iter().copied().eq(0..LINES));
    });
}

/// A shim was killed within a frame; the next one cuts it off and writes another in its place.
#[test]
fn a_torn_frame_that_another_replaces() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 10_000, 2);
    writer.write(OUT, 0, b"whole\n");
    let file = path(directory.path(), 0);
    let whole = fs::metadata(&file).unwrap().len();
    writer.append(&frame(OUT, 0, &[b'x'; 100])[..70]);
    let mut reading = Reading::begin(directory.path(), &LogOptions::follow()).unwrap();
    let mut attached = Reader::at_end(directory.path()).unwrap();
    assert_eq!(bytes_of(&rest(&mut reading)), b"whole\n");
    assert_eq!(attached.read().unwrap(), []);
    OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(whole)
        .unwrap();
    writer.write(OUT, 0, b"next\n");
    assert_eq!(bytes_of(&rest(&mut reading)), b"next\n");
    assert_eq!(attached.read().unwrap()[0].data, b"next\n".as_slice());
}

/// A reading that does not follow ends, also when more is written than it reads.
#[test]
fn what_is_written_meanwhile_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 1000, 2);
    writer.write(OUT, 0, b"before\n");
    let mut reading = Reading::begin(directory.path(), &LogOptions::default()).unwrap();
    writer.write(OUT, 0, b"after\n");
    writer.rotate();
    writer.write(OUT, 0, b"after\n");
    writer.rotate();
    writer.write(OUT, 0, b"after\n");
    // The file that it reads was deleted meanwhile.
    assert_eq!(numbers(directory.path()).unwrap(), [1, 2]);
    assert_eq!(bytes_of(&rest(&mut reading)), b"before\n");
}

/// Rotation deletes a file between its being listed and opened.
#[test]
fn files_are_opened_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 1, 10);
    (0..4).for_each(|number| writer.write(OUT, number, b"x\n"));
    let listed = numbers(directory.path()).unwrap();
    fs::remove_file(path(directory.path(), 1)).unwrap();
    let files = files::open_these(directory.path(), &listed).unwrap();
    let opened: Vec<u64> = files.iter().map(|file| file.number).collect();
    assert_eq!(opened, [2, 3]);
}

#[test]
fn the_longest_frames() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 10 << 20, 2);
    let long = vec![b'y'; driver_local_shim::log::MAX_DATA];
    writer.write(OUT, 0, b"a\n");
    writer.write(OUT, 0, &long);
    writer.write(OUT, 0, b"\nb\n");
    let text = text(directory.path(), &LogOptions::default()).unwrap();
    let lengths: Vec<usize> = text.lines().map(str::len).collect();
    assert_eq!(lengths, [1, long.len(), 1]);
}

/// A log of 64 MiB, in frames as a busy process makes them: all of it, and its last lines, which are found at its end.
#[test]
fn a_large_log() {
    const SIZE: usize = 64 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(directory.path(), 16 << 20, 5);
    let lines = |from: u64| (from..).map(line);
    let (mut number, mut written) = (0, 0);
    while written < SIZE {
        let mut data = Vec::new();
        for line in lines(number).take(1000) {
            data.extend(line);
        }
        number += 1000;
        written += data.len();
        writer.write(OUT, 0, &data);
    }
    writer.write(OutputStream::Stderr, 0, b"the end\n");
    let all = text(directory.path(), &LogOptions::default()).unwrap();
    assert_eq!(all.len(), written + "the end\n".len());
    assert_eq!(all.lines().count() as u64, number + 1);
    let options = LogOptions::tail(3);
    let tail = text(directory.path(), &options).unwrap();
    let (lines, end) = tail.split_at(tail.len() - "the end\n".len());
    assert_eq!(numbers_in(lines), [number - 2, number - 1]);
    assert_eq!(end, "the end\n");

    let mut files = files::open_all(directory.path()).unwrap();
    tail::seek(&mut files, &options, 3).unwrap();
    let newest = files.pop_front().unwrap();
    assert_eq!(newest.number, *numbers(directory.path()).unwrap().last().unwrap());
    assert!(newest.end - newest.at < 200_000, "{newest:?}");
}
