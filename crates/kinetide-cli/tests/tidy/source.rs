//! One Rust file as the rules see it: raw lines, tokens, which lines are test code, and the span of each function.

use crate::lexer::{self, Token};

/// A Rust file, lexed once for all rules.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) lines: Vec<&'a str>,
    pub(crate) tokens: Vec<Token>,
    /// Whether each line is test code; line 1 is the first entry.
    in_test: Vec<bool>,
}

/// A function with a body; the lines are its `fn` and its closing brace.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &'a str, text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let tokens = lexer::tokens(text);
        let mut in_test = vec![is_test_file(path); lines.len()];
        for start in 0..tokens.len() {
            if let Some((first, last)) = test_item(&tokens, start) {
                in_test[first - 1..last].fill(true);
            }
        }
        Self { path, lines, tokens, in_test }
    }

    pub(crate) fn is_test_file(&self) -> bool {
        is_test_file(self.path)
    }

    pub(crate) fn in_test(&self, line: usize) -> bool {
        self.in_test[line - 1]
    }

    /// How many lines are production code, with their comments and blanks.
    pub(crate) fn production_lines(&self) -> usize {
        self.in_test.iter().filter(|in_test| !**in_test).count()
    }

    /// Where these words and marks follow each other: the index of the first.
    pub(crate) fn occurrences(&self, sequence: &[&str]) -> impl Iterator<Item = usize> {
        let starts = self.tokens.windows(sequence.len()).enumerate();
        starts.filter(|(_, window)| matches(window, sequence)).map(|(start, _)| start)
    }

    /// Every function that has a body, nested ones too.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        self.occurrences(&["fn"]).filter_map(|start| {
            let name = self.tokens.get(start + 1)?;
            let body = item_end(&self.tokens, start)?;
            self.tokens[body].is("}").then(|| Function {
                name: &name.text,
                first: self.tokens[start].line,
                last: self.tokens[body].line,
            })
        })
    }
}

fn is_test_file(path: &str) -> bool {
    let beside_the_product = ["/tests/", "/benches/", "/examples/"];
    beside_the_product.iter().any(|folder| path.contains(folder)) || path.ends_with("/tests.rs")
}

/// The lines of the item that a `#[cfg(test)]` starting here stands over; of the whole file for `#![cfg(test)]`.
fn test_item(tokens: &[Token], start: usize) -> Option<(usize, usize)> {
    let rest = &tokens[start..];
    let last_line = tokens.last()?.last_line;
    if [&["#", "!", "[", "cfg", "(", "test", ")"][..], &["#", "!", "[", "cfg", "(", "all", "(", "test"]]
        .iter()
        .any(|inner| matches(rest, inner))
    {
        return Some((1, last_line));
    }
    let outer = [&["#", "[", "cfg", "(", "test", ")"][..], &["#", "[", "cfg", "(", "all", "(", "test"]];
    outer.iter().any(|outer| matches(rest, outer)).then(|| {
        let end = item_end(tokens, start).map_or(last_line, |end| tokens[end].last_line);
        (rest[0].line, end)
    })
}

/// The token that ends the item starting here: its `;`, or the brace that closes its first block.
fn item_end(tokens: &[Token], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            _ if token.kind == lexer::Kind::Text => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at);
                }
            }
            ";" if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn matches(tokens: &[Token], sequence: &[&str]) -> bool {
    tokens.len() >= sequence.len() && tokens.iter().zip(sequence).all(|(token, text)| token.is(text))
}
