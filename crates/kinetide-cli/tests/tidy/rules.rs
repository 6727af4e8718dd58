//! The rules. Each yields the lines that break it with a sentence that names the limit and, where it helps, the way out.

use std::collections::BTreeMap;

use crate::lexer::Kind;
use crate::source::Source;

/// A line, and what is wrong with it.
type Fault = (usize, String);

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const TEST_FILE_LINES_MAX: usize = 1500;
const COLUMNS_MAX: usize = 120;

/// Who may depend on whom: a crate, its dependencies of ours, and those its tests may have besides.
///
/// `kinetide` and `kinetide-local` never meet, not even in tests: a fake that shares code with its client shares the
/// client's mistakes.
const ARROWS: [(&str, &[&str], &[&str]); 6] = [
    ("kinetide", &[], &[]),
    ("kinetide-local", &[], &[]),
    ("kinetide-multilang", &["kinetide"], &["kinetide-local"]),
    ("kinetide-transport", &["kinetide"], &["kinetide-local"]),
    ("kinetide-cli", &["kinetide", "kinetide-local", "kinetide-multilang", "kinetide-transport"], &[]),
    ("kinetide-sim", &["kinetide", "kinetide-local", "kinetide-multilang"], &[]),
];

/// Crates whose library code must not write to a terminal that is not theirs.
const LIBRARIES: [&str; 4] = ["kinetide", "kinetide-local", "kinetide-multilang", "kinetide-transport"];

/// Where the AWS SDK and the attributes of its tables may be named.
const ADAPTERS: [&str; 2] = ["crates/kinetide/src/aws.rs", "crates/kinetide/src/aws/"];

const SDK_PREFIXES: [&str; 4] = ["aws_sdk_", "aws_smithy_", "aws_config", "aws_credential_types"];

/// Attributes of a lease row, by the names they have in DynamoDB.
const WIRE_NAMES: [&str; 14] = [
    "leaseKey",
    "leaseOwner",
    "leaseCounter",
    "ownerSwitchesSinceCheckpoint",
    "checkpointSubSequenceNumber",
    "pendingCheckpoint",
    "pendingCheckpointSubSequenceNumber",
    "pendingCheckpointState",
    "parentShardId",
    "childShardIds",
    "startingHashKey",
    "endingHashKey",
    "throughputKBps",
    "checkpointOwner",
];

/// Calls that nothing but a test, or nothing at all, may make: the tokens, whether tests are exempt, and the reason.
const BANNED: [(&[&str], bool, &str); 6] = [
    (&["todo", "!"], false, "`todo!` is not an implementation"),
    (&["unimplemented", "!"], false, "`unimplemented!` is not an implementation"),
    (&["dbg", "!"], false, "`dbg!` is for the desk: log an event"),
    (&["#", "[", "ignore"], false, "an ignored test is no test: make it pass or delete it"),
    (&["unsafe"], false, "`unsafe` is not used in this tree"),
    (&[".", "unwrap", "(", ")"], true, "`.unwrap()` in production code: return the error, or say why it cannot be"),
];

/// Everything that holds for a Rust file.
pub(crate) fn rust(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    faults.extend(module_docs(source));
    faults.extend(file_size(source));
    faults.extend(function_sizes(source));
    faults.extend(line_shapes(source));
    faults.extend(banned_calls(source));
    faults.extend(prints_in_libraries(source));
    faults.extend(sdk_outside_adapters(source));
    faults.extend(wire_names_outside_adapters(source));
    faults
}

fn module_docs(source: &Source<'_>) -> Option<Fault> {
    let documented = source.lines.first().is_some_and(|line| line.starts_with("//!"));
    let unit_tests = source.path.ends_with("/tests.rs");
    (!documented && !unit_tests).then(|| (1, "the file must open with `//!`: what it is for, and what not".to_owned()))
}

fn file_size(source: &Source<'_>) -> Option<Fault> {
    let (lines, limit, what) = if source.is_test_file() {
        (source.lines.len(), TEST_FILE_LINES_MAX, "lines of tests")
    } else {
        (source.production_lines(), FILE_LINES_MAX, "lines of production code")
    };
    (lines > limit).then(|| (1, format!("{lines} {what}, the limit is {limit}: split the file by noun")))
}

fn function_sizes(source: &Source<'_>) -> impl Iterator<Item = Fault> {
    source.functions().filter(|function| !source.in_test(function.first)).filter_map(|function| {
        let lines = function.last - function.first + 1;
        let fault = || format!("fn {} has {lines} lines, the limit is {FUNCTION_LINES_MAX}", function.name);
        (lines > FUNCTION_LINES_MAX).then(|| (function.first, fault()))
    })
}

/// Width, tabs and trailing blanks. Comments may be wider, for tables and diagrams; tests too, for lines of protocols.
fn line_shapes(source: &Source<'_>) -> impl Iterator<Item = Fault> {
    let mut widths = BTreeMap::new();
    for token in &source.tokens {
        widths.insert(token.last_line, token.last_column);
    }
    source.lines.iter().zip(1..).flat_map(move |(line, number)| {
        let width = widths.get(&number).copied().unwrap_or(0);
        let wide = width > COLUMNS_MAX && !line.contains("://") && !source.in_test(number);
        let wide = wide.then(|| (number, format!("{width} columns of code, the limit is {COLUMNS_MAX}")));
        let tab = line.contains('\t').then(|| (number, "a tab: indent with blanks, write \\t in strings".to_owned()));
        let blank = line.ends_with([' ', '\t']).then(|| (number, "trailing blanks".to_owned()));
        [wide, tab, blank].into_iter().flatten()
    })
}

fn banned_calls(source: &Source<'_>) -> impl Iterator<Item = Fault> {
    BANNED.iter().flat_map(move |(sequence, tests_exempt, reason)| {
        let lines = source.occurrences(sequence).map(|at| source.tokens[at].line);
        let counted = lines.filter(move |line| !(*tests_exempt && source.in_test(*line)));
        counted.map(|line| (line, (*reason).to_owned()))
    })
}

fn prints_in_libraries(source: &Source<'_>) -> Vec<Fault> {
    let is_library = LIBRARIES.iter().any(|name| source.path.starts_with(&format!("crates/{name}/src/")));
    let prints = [["print", "!"], ["println", "!"]];
    let prints = prints.iter().filter(|_| is_library).flat_map(|sequence| source.occurrences(sequence));
    let lines = prints.map(|at| source.tokens[at].line).filter(|line| !source.in_test(*line));
    lines.map(|line| (line, "a library does not print: return it, or log an event".to_owned())).collect()
}

fn sdk_outside_adapters(source: &Source<'_>) -> Vec<Fault> {
    let named = source
        .tokens
        .iter()
        .filter(|token| token.kind == Kind::Word && SDK_PREFIXES.iter().any(|prefix| token.text.starts_with(prefix)));
    let faults = named.filter(|token| !in_adapters(source.path) && !source.in_test(token.line));
    faults.map(|token| (token.line, format!("`{}` belongs into {}", token.text, ADAPTERS[1]))).collect()
}

fn wire_names_outside_adapters(source: &Source<'_>) -> Vec<Fault> {
    let literals = source.tokens.iter().filter(|token| token.kind == Kind::Text);
    let outside = literals.filter(|token| !in_adapters(source.path) && !source.in_test(token.line));
    outside
        .flat_map(|token| token.text.split(|c: char| !c.is_alphanumeric()).map(|word| (token.line, word)))
        .filter(|(_, word)| WIRE_NAMES.contains(word))
        .map(|(line, word)| (line, format!("the attribute name \"{word}\" belongs into {}", ADAPTERS[1])))
        .collect()
}

fn in_adapters(path: &str) -> bool {
    ADAPTERS.iter().any(|adapter| path.starts_with(adapter))
}

/// A crate depends on no crate of ours that the arrows do not allow.
pub(crate) fn manifest(path: &str, text: &str) -> Vec<Fault> {
    let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml")) else {
        return Vec::new();
    };
    let Some((_, allowed, in_tests)) = ARROWS.iter().find(|(from, ..)| *from == name) else {
        return vec![(1, format!("{name} has no row in ARROWS: a new crate needs a decision record"))];
    };
    let mut table = "";
    let mut faults = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.starts_with('[') {
            table = line;
        }
        let dependency = line.split(['.', '=', ' ']).next().unwrap_or_default();
        let ours = table.ends_with("dependencies]") && dependency.starts_with("kinetide");
        let dev = table.contains("dev-dependencies") && in_tests.contains(&dependency);
        if ours && !allowed.contains(&dependency) && !dev {
            faults.push((number, format!("{name} must not depend on {dependency}")));
        }
    }
    faults
}

/// No file tells where somebody's checkout is.
pub(crate) fn any_file(text: &str) -> Vec<Fault> {
    // Put together here, or this file would break its own rule.
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let lines = text.lines().zip(1..);
    let faults = lines.filter_map(|(line, number)| Some((number, homes.iter().find(|home| line.contains(**home))?)));
    faults.map(|(number, home)| (number, format!("`{home}` is a path of one machine"))).collect()
}
