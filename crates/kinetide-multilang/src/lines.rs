//! Cuts what a child writes into lines, as Java's readers do: `\n`, `\r\n` and a lone `\r` end one, and so does the end
//! of the output if anything stands before it.
//!
//! It is not for judging lines. Invariant: it holds no more than [`Lines::LENGTH_MAX`] bytes of an unfinished line.

/// Bytes that have arrived and not yet been taken as lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    /// The last line ended with `\r`: a `\n` right after it belongs to that end.
    after_return: bool,
    length_max: usize,
}

/// A line longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {0} bytes")]
pub struct LineTooLong(pub usize);

impl Lines {
    /// The longest line, and the most that is read ahead. Messages of children are short; this bounds the damage.
    pub const LENGTH_MAX: usize = 64 << 20;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(Self::LENGTH_MAX)
    }

    fn bounded(length_max: usize) -> Self {
        Self { length_max, ..Self::default() }
    }

    /// True if there is room for more output.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.buffer.len() - self.start < self.length_max
    }

    /// Adds output.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line, without its end.
    ///
    /// # Errors
    /// [`LineTooLong`] when it is not complete and too long already.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        if self.after_return && self.start < self.buffer.len() {
            self.after_return = false;
            self.start += usize::from(self.buffer[self.start] == b'\n');
            self.searched = self.searched.max(self.start);
        }
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.buffer.len();
            return if self.has_room() { Ok(None) } else { Err(LineTooLong(self.length_max)) };
        };
        let (start, end) = (self.start, self.searched + found);
        self.after_return = self.buffer[end] == b'\r';
        self.start = end + 1;
        self.searched = end + 1;
        Ok(Some(&self.buffer[start..end]))
    }

    /// The last line, if the output ended without a line end.
    pub fn last_line(&mut self) -> Option<Vec<u8>> {
        let start = self.start + usize::from(self.after_return && self.buffer.get(self.start) == Some(&b'\n'));
        let rest = self.buffer.split_off(start);
        *self = Self::bounded(self.length_max);
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line().unwrap() {
                found.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        found.extend(lines.last_line().map(|line| String::from_utf8_lossy(&line).into_owned()));
        found
    }

    #[test]
    fn three_line_ends() {
        assert_eq!(split(&[b"a\nb\r\nc\rd"]), ["a", "b", "c", "d"]);
        assert_eq!(split(&[b"\n\r\n\r\r\n"]), ["", "", "", ""]);
        assert_eq!(split(&[b"a\r", b"\nb\r", b"c\r\n"]), ["a", "b", "c"]);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(split(&[b"a\nlast"]), ["a", "last"]);
        assert_eq!(split(&[b"a\r", b"\n"]), ["a"]);
        assert!(split(&[b""]).is_empty());
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let mut lines = Lines::bounded(4);
        lines.push(b"123");
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"4");
        assert!(!lines.has_room());
        assert_eq!(lines.next_line(), Err(LineTooLong(4)));
        let mut lines = Lines::bounded(4);
        lines.push(b"12\n345");
        assert_eq!(lines.next_line(), Ok(Some(&b"12"[..])));
        assert!(lines.has_room());
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in "[ab\r\n]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            chunks.push(&text.as_bytes()[from..]);
            prop_assert_eq!(split(&chunks), split(&[text.as_bytes()]));
        }
    }
}
