//! The file format: lines into keys and values.
//!
//! `java-properties` does the work. It reads escapes in comments, where Java reads nothing, and then refuses a comment
//! such as `# C:\users`; so comments are blanked out first.

use java_properties::{LineContent, PropertiesIter};

/// A key, its value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A line that is no key and value: an escape that is none.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Malformed {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub fault: String,
}

/// Reads the entries in the order of the file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let bytes = without_comments(bytes);
    let mut entries = Vec::new();
    for line in PropertiesIter::new(&bytes[..]) {
        let line = line.map_err(|error| Malformed {
            line: error.line_number().unwrap_or_default(),
            fault: "\\u is not followed by the four hexadecimal digits of a character".to_owned(),
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            entries.push(Entry { line: number, key, value });
        }
    }
    Ok(entries)
}

/// Empties comment lines, and keeps the number of lines. A line that continues another is no comment, whatever it
/// begins with.
fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut continues = false;
    for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        let (text, line_end) = line.split_at(end);
        let first = text.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\x0c'));
        let is_comment = !continues && matches!(first, Some(b'#' | b'!'));
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        // The `\n` of a `\r\n` comes as a line of its own here: it ends nothing.
        let is_half = text.is_empty() && line_end == b"\n" && kept.last() == Some(&b'\r');
        if !is_half {
            continues = !is_comment && backslashes % 2 == 1;
        }
        if !is_comment {
            kept.extend_from_slice(text);
        }
        kept.extend_from_slice(line_end);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text.as_bytes()).unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    fn pair(text: &str) -> (String, String) {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{text}");
        pairs[0].clone()
    }

    fn same(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_and_blanks() {
        for text in ["a=b", "a:b", "a b", "  a = b", "a\t:\tb", "\x0ca=b"] {
            assert_eq!(pair(text), same("a", "b"), "{text:?}");
        }
        assert_eq!(pair("a = b  "), same("a", "b  "));
        assert_eq!(pair("a"), same("a", ""));
        assert_eq!(pair("a=b=c:d"), same("a", "b=c:d"));
    }

    #[test]
    fn continuations() {
        assert_eq!(pair("a = b,\\\n    c"), same("a", "b,c"));
        assert_eq!(pair("a = b\\\r\n#c"), same("a", "b#c"));
        assert_eq!(pairs("a=b\\\\\n#c=d\ne=f"), [same("a", "b\\"), same("e", "f")]);
        assert_eq!(pairs("# x \\\na=b"), [same("a", "b")]);
    }

    #[test]
    fn escapes() {
        assert_eq!(pair("a\\=b = c\\u00e9\\t\\q"), same("a=b", "cé\tq"));
        let error = read(b"a=b\n\nc=\\u00zz").unwrap_err();
        assert_eq!(error.to_string(), "line 3: \\u is not followed by the four hexadecimal digits of a character");
    }

    #[test]
    fn bytes_are_latin_1() {
        assert_eq!(read(b"a=\xe9").unwrap()[0].value, "é");
    }

    #[test]
    fn comments_are_not_read() {
        assert!(pairs("# C:\\users\n! \\u\n  # more\n\n   ").is_empty());
        assert_eq!(read(b"# one\r\n\r\na=b").unwrap()[0].line, 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn lines_keep_their_numbers(text in "[ab#=\\\\\r\n ]{0,60}") {
            let count = |bytes: &[u8]| bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
            prop_assert_eq!(count(text.as_bytes()), count(&without_comments(text.as_bytes())));
        }
    }
}
