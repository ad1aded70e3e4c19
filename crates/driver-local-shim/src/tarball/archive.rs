//! Reading a tar that is not trusted. The headers are parsed by the `tar` crate; extensions are ours, as that crate reads
//! them into memory whatever their size, and takes a PAX record with a line break in it for a broken one.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use tar::{EntryType, Header};

use super::error::{Error, Result, broken};

const BLOCK: u64 = 512;

/// What the extensions of one entry may have together: long paths, and extended attributes of at most 64 KiB.
const MAX_EXTENSIONS: u64 = 1 << 20;

/// The entries of a tar, one after another.
pub struct Archive<R> {
    source: R,
    /// Bytes of data of the last entry that were not yet read, and of padding after them.
    data: u64,
    padding: u64,
    /// Whether the source may end here.
    begun: bool,
}

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

/// An entry. Names are as they are in the archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) path: OsString,
    pub(super) link: OsString,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: Vec<(OsString, Vec<u8>)>,
}

/// What extensions say about the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(OsString, Vec<u8>)>,
    bytes: u64,
}

impl<R: Read> Archive<R> {
    /// Of a source that is to have at least the end of an archive.
    #[must_use]
    pub fn new(source: R) -> Self {
        Self {
            source,
            data: 0,
            padding: 0,
            begun: false,
        }
    }

    /// Of a source that may have no bytes at all: then there are no entries.
    #[must_use]
    pub fn perhaps_empty(source: R) -> Self {
        Self {
            begun: true,
            ..Self::new(source)
        }
    }

    /// The next entry; its data can be read until the next call. `None`: the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.pass(self.data + self.padding)?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.entry_type() {
                EntryType::GNULongName => {
                    extensions.path = Some(self.long_name(&header, &mut extensions.bytes)?)
                }
                EntryType::GNULongLink => {
                    extensions.link = Some(self.long_name(&header, &mut extensions.bytes)?)
                }
                EntryType::XHeader => {
                    let records = self.extension(&header, &mut extensions.bytes)?;
                    extensions.add(&records)?;
                }
                // Git writes one with a comment. What else it could say, no archive of a root says for all its entries.
                EntryType::XGlobalHeader => drop(self.extension(&header, &mut extensions.bytes)?),
                kind => return self.entry(kind, &header, extensions).map(Some),
            }
        }
    }

    /// Reads data of the entry: to its end, 0 bytes.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.source.read(&mut buffer[..wanted]).map_err(Error::Source)? {
            0 => Err(broken("it ends within an entry")),
            count => {
                self.data -= count as u64;
                Ok(count)
            }
        }
    }

    /// The rest of the source: what digests are of goes to its end, not to that of the entries.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub fn finish(mut self) -> Result<R> {
        self.pass(self.data + self.padding)?;
        io::copy(&mut self.source, &mut io::sink()).map_err(Error::Source)?;
        Ok(self.source)
    }

    fn entry(&mut self, kind: EntryType, header: &Header, extensions: Extensions) -> Result<Entry> {
        let path = extensions
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = kind_of(kind, &path)?;
        let size = match extensions.size {
            Some(size) => size,
            None => header.entry_size().map_err(broken)?,
        };
        self.set_data(size)?;
        let link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let id = |extended: Option<u64>, header: io::Result<u64>| -> Result<u32> {
            let id = extended.map_or(header, Ok).map_err(broken)?;
            // All ones means `leave it as it is` to the kernel.
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| broken(format!("{id} is not the id of a user or group")))
        };
        let old = header.as_old();
        let mtime = match extensions.mtime {
            Some(mtime) => mtime,
            None => {
                let seconds = or_zero(&old.mtime, header.mtime()).map_err(broken)?;
                (i64::try_from(seconds).unwrap_or(i64::MAX), 0)
            }
        };
        Ok(Entry {
            kind,
            path: OsString::from_vec(path),
            link: OsString::from_vec(link.unwrap_or_default()),
            size,
            mode: or_zero(&old.mode, header.mode()).map_err(broken)? & 0o7777,
            uid: id(extensions.uid, or_zero(&old.uid, header.uid()))?,
            gid: id(extensions.gid, or_zero(&old.gid, header.gid()))?,
            mtime,
            xattrs: extensions.xattrs,
        })
    }

    /// The next header; `None`: the zeros that end an archive, or the end of the source.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]).map_err(Error::Source)? {
                0 => break,
                count => filled += count,
            }
        }
        match filled {
            0 if self.begun => return Ok(None),
            0 => return Err(broken("it is empty")),
            512 => {}
            _ => return Err(broken("it ends within a header")),
        }
        self.begun = true;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let others = bytes[..148].iter().chain(&bytes[156..]);
        let sum = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        match header.cksum() {
            Ok(written) if written == sum => Ok(Some(header)),
            _ => Err(broken("it is no tar, or damaged: a header has a wrong checksum")),
        }
    }

    /// The content of an entry that describes the next one. `bytes` counts those of all of them.
    fn extension(&mut self, header: &Header, bytes: &mut u64) -> Result<Vec<u8>> {
        let size = header.entry_size().map_err(broken)?;
        *bytes = bytes.saturating_add(size.max(BLOCK));
        if *bytes > MAX_EXTENSIONS {
            return Err(broken(format!(
                "the names of an entry have more than {MAX_EXTENSIONS} bytes"
            )));
        }
        self.set_data(size)?;
        let mut content = vec![0; usize::try_from(size).map_err(broken)?];
        let mut filled = 0;
        while filled < content.len() {
            filled += self.read(&mut content[filled..])?;
        }
        Ok(content)
    }

    fn long_name(&mut self, header: &Header, bytes: &mut u64) -> Result<Vec<u8>> {
        let mut name = self.extension(header, bytes)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn set_data(&mut self, size: u64) -> Result<()> {
        if size > i64::MAX as u64 {
            return Err(broken("an entry has an impossible size"));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> Result<()> {
        let mut rest = self.source.by_ref().take(bytes);
        let passed = io::copy(&mut rest, &mut io::sink()).map_err(Error::Source)?;
        (self.data, self.padding) = (0, 0);
        if passed < bytes {
            return Err(broken("it ends within an entry"));
        }
        Ok(())
    }
}

/// A number of a header. One that its writer left out is 0, as Docker and others read it.
fn or_zero<T: Default>(field: &[u8], number: io::Result<T>) -> io::Result<T> {
    let is_given = field.iter().any(|byte| !matches!(byte, 0 | b' '));
    if is_given { number } else { Ok(T::default()) }
}

fn kind_of(kind: EntryType, path: &[u8]) -> Result<Kind> {
    let shown = || String::from_utf8_lossy(path).escape_debug().to_string();
    Ok(match kind {
        // Old archives write directories as files with a slash at the end.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::GNUSparse => {
            return Err(broken(format!(
                "{} is a sparse file; pack without --sparse",
                shown()
            )));
        }
        other => {
            let code = char::from(other.as_byte()).escape_debug();
            return Err(broken(format!("{} is of the unknown type '{code}'", shown())));
        }
    })
}

impl Extensions {
    /// Adds PAX records: `LENGTH KEY=VALUE\n`, where a value may have any bytes.
    fn add(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or_else(|| broken("a PAX record is malformed"))?;
            records = rest;
            let number = || {
                std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| broken(format!("the PAX record {key} is no number")))
            };
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "size" => self.size = Some(number()?),
                "uid" => self.uid = Some(number()?),
                "gid" => self.gid = Some(number()?),
                "mtime" => {
                    self.mtime = Some(time(value).ok_or_else(|| broken("the PAX record mtime is no time"))?)
                }
                _ if key.starts_with("GNU.sparse.") => {
                    return Err(broken("it has a sparse file; pack without --sparse"));
                }
                _ => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.xattrs.push((name.into(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The key and value of the first record, and what follows it.
fn record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let line = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(&line[..equals]).ok()?;
    Some((key, &line[equals + 1..], &records[length..]))
}

/// `SECONDS[.FRACTION]`, perhaps negative.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (whole, nanos): (i64, u32) = (seconds.parse().ok()?, nanos.parse().ok()?);
    match seconds.starts_with('-') && nanos > 0 {
        true => Some((whole.checked_sub(1)?, 1_000_000_000 - nanos)),
        false => Some((whole, nanos)),
    }
}
