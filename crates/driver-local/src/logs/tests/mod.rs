//! Readings of logs against a model of what they must give, and against a writer that is at it.

#![allow(clippy::unwrap_used)]

mod live;
mod model;

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use driver_local_shim::log::{HEADER, header};
use driver_types::{LogOptions, OutputStream};

use super::files::{numbers, path};
use super::*;

/// A writer with the rules of the shim's, which remembers what is in its files.
struct Writer<'a> {
    directory: &'a Path,
    max_file_bytes: usize,
    max_files: usize,
    number: u64,
    size: usize,
    /// The frames of each file that is left.
    files: VecDeque<Vec<Written>>,
}

#[derive(Clone, Debug)]
struct Written {
    stream: OutputStream,
    time: u64,
    data: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(directory: &'a Path, max_file_bytes: usize, max_files: usize) -> Self {
        Self {
            directory,
            max_file_bytes,
            max_files,
            number: 0,
            size: 0,
            files: VecDeque::from([Vec::new()]),
        }
    }

    fn append(&self, bytes: &[u8]) {
        let path = path(self.directory, self.number);
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn write(&mut self, stream: OutputStream, time: u64, data: &[u8]) {
        let bytes = frame(stream, time, data);
        if self.size > 0 && self.size + bytes.len() > self.max_file_bytes {
            self.rotate();
        }
        self.append(&bytes);
        self.size += bytes.len();
        let data = data.to_vec();
        self.files
            .back_mut()
            .unwrap()
            .push(Written { stream, time, data });
    }

    fn rotate(&mut self) {
        self.number += 1;
        self.size = 0;
        self.files.push_back(Vec::new());
        while self.files.len() > self.max_files {
            let oldest = self.number + 1 - self.files.len() as u64;
            // It was never made where nothing was written to it.
            let _ = fs::remove_file(path(self.directory, oldest));
            self.files.pop_front();
        }
    }

    /// What is left, in order.
    fn left(&self) -> Vec<Written> {
        self.files.iter().flatten().cloned().collect()
    }
}

fn frame(stream: OutputStream, time: u64, data: &[u8]) -> Vec<u8> {
    let number = match stream {
        OutputStream::Stdout => 1,
        OutputStream::Stderr => 2,
    };
    [header(number, data.len() as u32, time).as_slice(), data].concat()
}

/// All that a reading gives now.
fn rest(reading: &mut Reading) -> Vec<LogFrame> {
    let mut all = Vec::new();
    loop {
        let frames = reading.next().unwrap();
        if frames.is_empty() {
            return all;
        }
        all.extend(frames);
    }
}

fn bytes_of(frames: &[LogFrame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
}
