//! The house rules that no compiler checks, as an ordinary test: sizes, banned calls, layout, who may depend on whom.
//!
//! Nothing here parses Rust in full. A lexer that knows comments, strings and braces is enough for every rule, needs no
//! dependency and cannot be confused by a brace in a string. Each rule has examples that break it (`examples.rs`),
//! because a check that cannot fail is worth nothing.

mod examples;
mod lexer;
mod rules;
mod source;
mod walk;

use std::fmt;
use std::path::Path;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Everything wrong with one file, by the rules for its kind; `path` is relative to the repository, with `/`.
fn check(path: &str, text: &str) -> Vec<Finding> {
    let findings = match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "rs" => rules::rust(&source::Source::new(path, text)),
        _ if path.ends_with("Cargo.toml") => rules::manifest(path, text),
        _ => Vec::new(),
    };
    let everywhere = rules::any_file(text);
    let in_order = |(line, message)| Finding { path: path.to_owned(), line, message };
    let mut findings: Vec<Finding> = findings.into_iter().chain(everywhere).map(in_order).collect();
    findings.sort_by_key(|finding| finding.line);
    findings
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = walk::text_files(&root);
    let sources = files.iter().filter(|(path, _)| path.ends_with(".rs")).count();
    assert!(sources > 50, "only {sources} Rust files found below {}: the walk is broken", root.display());

    let findings: Vec<Finding> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} untidy places:\n{}\n", findings.len(), report.join("\n"));
}
