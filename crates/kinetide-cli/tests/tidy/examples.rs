//! Each rule with text that breaks it and text that looks alike and does not.

use crate::check;

const LIBRARY: &str = "crates/kinetide/src/lease.rs";
const BINARY: &str = "crates/kinetide-cli/src/main.rs";
const TEST: &str = "crates/kinetide/src/lease/tests.rs";

/// What the rules say about a file of this content, as `line: message`; the opening doc comment is line 1.
fn findings(path: &str, body: &str) -> Vec<String> {
    let text = format!("//! An example.\n{body}");
    check(path, &text).into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
}

#[track_caller]
fn fails(path: &str, body: &str, finding: &str) {
    assert_eq!(findings(path, body), [finding], "in {path}:\n{body}");
}

#[track_caller]
fn passes(path: &str, body: &str) {
    assert_eq!(findings(path, body), [""; 0], "in {path}:\n{body}");
}

fn function_of(lines: usize) -> String {
    format!("pub fn long(\n    a: [u8; 4],\n) {{\n{}}}\n", "    work();\n".repeat(lines - 4))
}

#[test]
fn findings_name_path_and_line() {
    let finding = &check(BINARY, "//! Doc.\nfn main() {\n    dbg!(1);\n}\n")[0];
    assert_eq!(finding.to_string(), "crates/kinetide-cli/src/main.rs:3: `dbg!` is for the desk: log an event");
}

#[test]
fn functions_are_short() {
    passes(LIBRARY, &function_of(70));
    fails(LIBRARY, &function_of(71), "2: fn long has 71 lines, the limit is 70");
    let method = format!("impl A {{\n    fn short() {{}}\n{}}}\n", function_of(80));
    fails(LIBRARY, &method, "4: fn long has 80 lines, the limit is 70");
    passes(LIBRARY, &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function_of(80)));
    passes(TEST, &function_of(80));
    passes(LIBRARY, &format!("trait T {{\n    fn declared();\n{}}}\n", "    type A;\n".repeat(80)));
    passes(LIBRARY, &format!("const F: fn(u8) = g;\n{}", "const A: u8 = 1;\n".repeat(80)));
}

#[test]
fn braces_in_strings_and_comments_end_nothing() {
    let body = "    a(\"}\", '}', r#\"}\"#); // }\n/* } */\n".repeat(40);
    fails(LIBRARY, &format!("fn long() {{\n{body}}}\n"), "2: fn long has 82 lines, the limit is 70");
}

#[test]
fn files_are_short() {
    let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
    passes(LIBRARY, &lines(799));
    fails(LIBRARY, &lines(800), "1: 801 lines of production code, the limit is 800: split the file by noun");
    passes(LIBRARY, &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(800)));
    passes(TEST, &lines(1499));
    fails(TEST, &lines(1500), "1: 1501 lines of tests, the limit is 1500: split the file by noun");
}

#[test]
fn files_open_with_their_purpose() {
    let undocumented = |path| check(path, "/// Not it.\nuse a;\n").len();
    assert_eq!(undocumented(LIBRARY), 1);
    assert_eq!(undocumented("crates/kinetide-cli/tests/run.rs"), 1);
    assert_eq!(undocumented(TEST), 0);
    assert_eq!(check(LIBRARY, "").len(), 1);
}

#[test]
fn lines_have_a_shape() {
    let wide = |with: &str| format!("const A: &str = \"{with}{}\";\n", "é".repeat(102 - with.len()));
    passes(LIBRARY, &wide("").replacen('é', "", 1));
    fails(LIBRARY, &wide("e"), "2: 121 columns of code, the limit is 120");
    passes(LIBRARY, &wide("https://"));
    passes(TEST, &wide("e"));
    passes(LIBRARY, &format!("use a; // {}\n", "b".repeat(200)));
    fails(LIBRARY, "fn a() {\n\tb();\n}\n", "3: a tab: indent with blanks, write \\t in strings");
    fails(LIBRARY, "use a; \n", "2: trailing blanks");
    fails(LIBRARY, "// a \n", "2: trailing blanks");
}

#[test]
fn placeholders_and_escapes_are_banned() {
    fails(LIBRARY, "fn a() { todo!() }\n", "2: `todo!` is not an implementation");
    fails(TEST, "fn a() { unimplemented!() }\n", "2: `unimplemented!` is not an implementation");
    fails(TEST, "#[ignore = \"slow\"]\n", "2: an ignored test is no test: make it pass or delete it");
    fails(BINARY, "fn a() { unsafe { b() } }\n", "2: `unsafe` is not used in this tree");
    passes(LIBRARY, "// todo!() and dbg!(a), .unwrap() in words\nconst A: &str = \"unsafe dbg!()\";\n");
}

#[test]
fn production_code_does_not_unwrap() {
    let reason = "`.unwrap()` in production code: return the error, or say why it cannot be";
    fails(LIBRARY, "fn a() {\n    b.unwrap();\n}\n", &format!("3: {reason}"));
    fails(LIBRARY, "fn a() {\n    b\n        .unwrap();\n}\n", &format!("4: {reason}"));
    fails(LIBRARY, "#[cfg(test)]\nmod tests {}\nfn a() { b.unwrap() }\n", &format!("4: {reason}"));
    fails(LIBRARY, "#[cfg(test)]\nuse a;\nfn a() { b.unwrap() }\n", &format!("4: {reason}"));
    passes(LIBRARY, "#[cfg(test)]\nmod tests {\n    fn a() { b.unwrap() }\n}\nfn c() { d.unwrap_or(1) }\n");
    passes(LIBRARY, "#![cfg(test)]\nfn a() { b.unwrap() }\n");
    passes(TEST, "fn a() { b.unwrap() }\n");
}

#[test]
fn libraries_do_not_print() {
    fails(LIBRARY, "fn a() { println!(\"b\") }\n", "2: a library does not print: return it, or log an event");
    passes(BINARY, "fn a() { println!(\"b\") }\n");
    passes(LIBRARY, "#[cfg(test)]\nfn a() { println!(\"b\") }\n");
}

#[test]
fn only_the_adapters_name_the_sdk_and_its_attributes() {
    let sdk = "use aws_sdk_kinesis::Client;\n";
    fails(LIBRARY, sdk, "2: `aws_sdk_kinesis` belongs into crates/kinetide/src/aws/");
    passes("crates/kinetide/src/aws/kinesis.rs", sdk);
    passes(TEST, sdk);

    let update = "const A: &str = \"SET leaseCounter = :c\";\n";
    fails(LIBRARY, update, "2: the attribute name \"leaseCounter\" belongs into crates/kinetide/src/aws/");
    passes("crates/kinetide/src/aws/item.rs", update);
    passes(LIBRARY, "// leaseCounter\nconst A: &str = \"leaseCounters\";\n");
}

#[test]
fn arrows_point_one_way() {
    let manifest = |name: &str, text: &str| -> Vec<String> {
        check(&format!("crates/{name}/Cargo.toml"), text).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        manifest("kinetide", "[dev-dependencies]\nbytes = \"1\"\nkinetide-local.workspace = true\n"),
        ["crates/kinetide/Cargo.toml:3: kinetide must not depend on kinetide-local"]
    );
    assert_eq!(manifest("kinetide-multilang", "[dependencies]\nkinetide-local = {}\n").len(), 1);
    assert_eq!(manifest("kinetide-multilang", "[dev-dependencies]\nkinetide-local = {}\n").len(), 0);
    assert_eq!(
        manifest("kinetide-cli", "[package]\nname = \"kinetide-cli\"\n[dependencies]\nkinetide = {}\n").len(),
        0
    );
    assert_eq!(manifest("kinetide-extra", "").len(), 1);
    assert_eq!(check("Cargo.toml", "[workspace.dependencies]\nkinetide = {}\n").len(), 0);
}

#[test]
fn no_file_knows_a_machine() {
    let path = concat!("see /ho", "me/somebody/notes");
    assert_eq!(check("docs/a.md", path)[0].message, concat!("`/ho", "me/` is a path of one machine"));
    assert_eq!(check("docs/a.md", "see docs/notes, or a /rooted path").len(), 0);
}
