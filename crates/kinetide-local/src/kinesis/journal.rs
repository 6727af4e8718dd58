//! Records on disk: one file, appended to before a put is acknowledged.
//!
//! ferrokinesis can keep records too, but writes the whole store again at every change; here it keeps the streams only,
//! and this file the records. Not here: what a record means. Format: a magic line, then frames of length, CRC-32 and a
//! postcard-encoded [`Entry`], little endian. Invariants: what a put acknowledged has been handed to the operating
//! system, so a killed process loses nothing; a power cut may lose what was written since the last
//! [`sync`](Journal::sync). A torn or corrupt tail is cut off on opening, and nothing is ever appended behind one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"kinetide records 1\n";
/// Length and CRC in front of every frame.
const HEADER_BYTES: usize = 8;
/// Rewriting the file pays off only once it is mostly dead records, and never for a small one.
const GARBAGE_BYTES_MIN: u64 = 64 << 20;

/// One line of the journal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry<'a> {
    /// A record was put.
    Put {
        /// Stream name.
        stream: &'a str,
        /// Index of the shard.
        shard: i64,
        /// When the shard was created, which tells incarnations of a stream apart.
        created_ms: u64,
        /// Place in the shard.
        index: u64,
        /// When it arrived.
        arrival_ms: u64,
        /// Partition key.
        key: &'a str,
        /// Payload.
        data: &'a [u8],
    },
    /// A stream was deleted, and its records with it.
    Drop {
        /// Stream name.
        stream: &'a str,
    },
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    bytes: u64,
    dirty: bool,
    /// A write failed half-way and could not be taken back: appending would bury what follows.
    broken: bool,
}

/// The right to append: held from giving out places until the records are visible.
pub(super) struct Writer<'a> {
    state: MutexGuard<'a, State>,
    frames: Vec<u8>,
}

impl Journal {
    /// Opens or creates the file and hands every entry in it to `replay`, in order.
    pub(super) fn open(path: &Path, mut replay: impl FnMut(Entry<'_>)) -> io::Result<Self> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // A file shorter than its first line is one whose creation was interrupted.
        if content.len() >= MAGIC.len() && !content.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record journal of this version"));
        }
        let intact = if content.is_empty() { 0 } else { replay_frames(&content, &mut replay) };
        let mut file = File::options().create(true).truncate(false).append(true).open(path)?;
        file.set_len(intact)?;
        if intact == 0 {
            file.write_all(MAGIC)?;
        }
        let bytes = intact.max(MAGIC.len() as u64);
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { file, bytes, dirty: true, broken: false }) })
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        Writer { state: self.lock(), frames: Vec::new() }
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.dirty) {
            return Ok(());
        }
        // Puts need not wait for the disk too.
        let file = state.file.try_clone()?;
        drop(state);
        file.sync_data()
    }

    /// Whether the file is mostly records that are gone, given the bytes of those that are not.
    pub(super) fn is_mostly_garbage(&self, live_bytes: u64) -> bool {
        self.lock().bytes > 3 * live_bytes + GARBAGE_BYTES_MIN
    }

    /// Replaces the file by one that has only what `entries` writes. Puts wait meanwhile.
    pub(super) fn rewrite(&self, entries: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
        let mut writer = self.writer();
        entries(&mut writer);
        let Writer { mut state, frames } = writer;
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(&frames)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        state.file = File::options().append(true).open(&self.path)?;
        state.bytes = (MAGIC.len() + frames.len()) as u64;
        (state.dirty, state.broken) = (false, false);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer<'_> {
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        // Encoding into memory cannot fail; an entry that did would be a frame of length 0, which replay skips.
        let body = postcard::to_allocvec(entry).unwrap_or_default();
        self.frames.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
        self.frames.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        self.frames.extend_from_slice(&body);
    }

    /// Hands what was added to the operating system.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let state = &mut *self.state;
        if state.broken {
            return Err(io::Error::other("an earlier write failed half-way"));
        }
        if let Err(error) = state.file.write_all(&self.frames) {
            state.broken = state.file.set_len(state.bytes).is_err();
            return Err(error);
        }
        state.bytes += self.frames.len() as u64;
        state.dirty = true;
        self.frames.clear();
        Ok(())
    }
}

/// Replays intact frames; where they end.
fn replay_frames(content: &[u8], replay: &mut impl FnMut(Entry<'_>)) -> u64 {
    let mut place = MAGIC.len().min(content.len());
    if place < MAGIC.len() {
        return 0;
    }
    while let Some((entry, bytes)) = frame(&content[place..]) {
        replay(entry);
        place += bytes;
    }
    place as u64
}

fn frame(content: &[u8]) -> Option<(Entry<'_>, usize)> {
    let number = |at: usize| Some(u32::from_le_bytes(content.get(at..at + 4)?.try_into().ok()?));
    let (length, crc) = (number(0)? as usize, number(4)?);
    let body = content.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    let intact = crc32fast::hash(body) == crc;
    intact.then(|| postcard::from_bytes(body).ok()).flatten().map(|entry| (entry, HEADER_BYTES + length))
}

/// Cuts a half-written last entry off ferrokinesis' write-ahead log, which ignores it when reading but appends behind
/// it, and then cannot read the file any more. Format: eight bytes of magic, then entries of a little-endian u64 length
/// and a body.
pub(super) fn mend_stream_log(path: &Path) -> io::Result<()> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut intact = 8;
    while let Some(header) = content.get(intact..intact + 8) {
        let length = header.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let end = usize::try_from(length).ok().and_then(|length| (intact + 8).checked_add(length));
        match end.filter(|end| *end <= content.len()) {
            Some(end) => intact = end,
            None => break,
        }
    }
    if content.len() < 8 {
        std::fs::remove_file(path)
    } else if intact < content.len() {
        File::options().write(true).open(path)?.set_len(intact as u64)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(index: u64) -> Entry<'static> {
        Entry::Put { stream: "s", shard: 0, created_ms: 1, index, arrival_ms: 2, key: "k", data: b"data" }
    }

    fn write(journal: &Journal, indices: impl IntoIterator<Item = u64>) {
        let mut writer = journal.writer();
        indices.into_iter().for_each(|index| writer.add(&put(index)));
        writer.commit().unwrap();
    }

    fn open(path: &Path) -> (Journal, Vec<u64>) {
        let mut found = Vec::new();
        let journal = Journal::open(path, |entry| match entry {
            Entry::Put { index, .. } => {
                assert_eq!(entry, put(index));
                found.push(index);
            }
            Entry::Drop { .. } => found.clear(),
        });
        (journal.unwrap(), found)
    }

    #[test]
    fn what_was_committed_is_replayed_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.log");
        let (journal, found) = open(&path);
        assert!(found.is_empty());
        write(&journal, [1, 2]);
        write(&journal, [3]);
        assert_eq!(open(&path).1, [1, 2, 3]);
        let mut writer = journal.writer();
        writer.add(&Entry::Drop { stream: "s" });
        writer.add(&put(4));
        writer.commit().unwrap();
        assert_eq!(open(&path).1, [4]);
    }

    #[test]
    fn any_torn_tail_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.log");
        write(&open(&path).0, [1]);
        let one = std::fs::read(&path).unwrap();
        write(&open(&path).0, [2]);
        let two = std::fs::read(&path).unwrap();
        for length in one.len()..two.len() {
            std::fs::write(&path, &two[..length]).unwrap();
            let (journal, found) = open(&path);
            assert_eq!(found, [1], "cut at {length}");
            write(&journal, [5]);
            assert_eq!(open(&path).1, [1, 5], "cut at {length}");
        }
    }

    #[test]
    fn a_rewritten_journal_has_what_it_was_given_and_takes_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.log");
        let (journal, _) = open(&path);
        write(&journal, 1..100);
        journal.rewrite(|writer| writer.add(&put(99))).unwrap();
        write(&journal, [100]);
        assert_eq!(open(&path).1, [99, 100]);
    }

    #[test]
    fn another_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.log");
        std::fs::write(&path, "something that is not a journal at all").unwrap();
        assert!(Journal::open(&path, |_| ()).is_err());
        assert!(std::fs::read(&path).unwrap().starts_with(b"something"));
    }
}
