//! Rust text as a flat list of tokens: words, string literals and single marks. Comments are dropped.
//!
//! It tells apart what rules must not mix up: code from comments, code from strings, a lifetime from a character. Numbers
//! are words. It does not validate anything: the compiler does.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword or a number.
    Word,
    /// The content of a string literal of any sort, without its quotes.
    Text,
    /// One character of anything else.
    Mark,
}

/// One token and where it stands; lines and columns count from 1, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) last_line: usize,
    pub(crate) last_column: usize,
}

impl Token {
    /// Whether it is this word or mark; a string literal never is.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// Splits Rust text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text.chars().collect(), at: 0, line: 1, column: 0 };
    std::iter::from_fn(|| lexer.next_token()).collect()
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
}

impl Lexer {
    fn next_token(&mut self) -> Option<Token> {
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (blank, _) if blank.is_whitespace() => self.skip(1),
                ('/', Some('/')) => self.skip_while(|c| c != '\n'),
                ('/', Some('*')) => self.skip_block_comment(),
                _ => return Some(self.token()),
            }
        }
    }

    fn token(&mut self) -> Token {
        let line = self.line;
        let (kind, text) = match self.literal_prefix() {
            Some((prefix, Some(hashes))) => (Kind::Text, self.raw_string(prefix, hashes)),
            Some((prefix, None)) => (Kind::Text, self.quoted(prefix)),
            None => match self.character_prefix() {
                Some(prefix) => (Kind::Text, self.quoted(prefix)),
                None => self.word_or_mark(),
            },
        };
        Token { kind, text, line, last_line: self.line, last_column: self.column }
    }

    /// At a string: how many characters up to and with its opening quote, and for a raw one the number of hashes.
    fn literal_prefix(&self) -> Option<(usize, Option<usize>)> {
        let letters = match (self.peek(0)?, self.peek(1)) {
            ('b' | 'c', Some('r')) => 2,
            ('b' | 'c' | 'r', _) => 1,
            _ => 0,
        };
        let raw = letters > 0 && self.peek(letters - 1) == Some('r');
        let hashes = (letters..).take_while(|&n| raw && self.peek(n) == Some('#')).count();
        let quote = letters + hashes;
        (self.peek(quote) == Some('"')).then_some((quote + 1, raw.then_some(hashes)))
    }

    /// At a character literal, not a lifetime, because the quote closes after one character or an escape: how many
    /// characters up to and with its opening quote.
    fn character_prefix(&self) -> Option<usize> {
        let letters = usize::from(self.peek(0) == Some('b'));
        let closes = self.peek(letters + 1) == Some('\\') || self.peek(letters + 2) == Some('\'');
        (self.peek(letters) == Some('\'') && closes).then_some(letters + 1)
    }

    fn quoted(&mut self, prefix: usize) -> String {
        let quote = self.peek(prefix - 1);
        self.skip(prefix);
        let start = self.at;
        while self.peek(0).is_some() && self.peek(0) != quote {
            self.skip(if self.peek(0) == Some('\\') { 2 } else { 1 });
        }
        self.close(start, 1)
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) -> String {
        self.skip(prefix);
        let start = self.at;
        let closes = |lexer: &Self| lexer.peek(0) == Some('"') && (1..=hashes).all(|n| lexer.peek(n) == Some('#'));
        while self.peek(0).is_some() && !closes(self) {
            self.skip(1);
        }
        self.close(start, 1 + hashes)
    }

    fn close(&mut self, start: usize, delimiter: usize) -> String {
        let content = self.rest[start..self.at].iter().collect();
        self.skip(delimiter);
        content
    }

    fn word_or_mark(&mut self) -> (Kind, String) {
        let start = self.at;
        self.skip_while(is_word);
        let kind = if self.at == start { Kind::Mark } else { Kind::Word };
        self.skip(usize::from(kind == Kind::Mark));
        (kind, self.rest[start..self.at].iter().collect())
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.skip(1);
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
                self.column = 0;
            } else {
                self.column += 1;
            }
            self.at = self.rest.len().min(self.at + 1);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn code_is_told_from_comments_strings_and_lifetimes() {
    let words = |text: &str| -> Vec<String> {
        tokens(text).into_iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    };
    assert_eq!(words("let a = 1; // b\n/* c /* d */ e */ f"), ["let", "a", "1", "f"]);
    assert_eq!(words(r#"a("b \" c", 'd', '\'', '"', e)"#), ["a", "e"]);
    assert_eq!(words(r##"a(r#"b " c"#, br"d\", b'e', c"f") g"##), ["a", "g"]);
    assert_eq!(words("fn a<'b>(c: &'static str)"), ["fn", "a", "b", "c", "static", "str"]);
}

#[test]
fn tokens_know_where_they_end() {
    let [.., last] = &tokens("a\n  \"b\nc\" // d")[..] else { panic!("no token") };
    assert_eq!((last.text.as_str(), last.line, last.last_line, last.last_column), ("b\nc", 2, 3, 2));
}
