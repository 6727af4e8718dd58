//! The table as a page for people: `docs/settings.md`.

use std::fmt::Write;

use super::{Bounds, Kind, ROWS, Row, Status};

const OPENING: &str = "\
# Settings

Generated from `kinetide::settings::table`; `KINETIDE_BLESS=1 cargo test -p kinetide settings` writes it again.

*Key* is what a `.properties` file of the MultiLang daemon says, *field* the one in `kinetide::Settings`. The default is the
Java daemon's unless the note says otherwise; 0 leaves the default. Keys are case-sensitive, except that `AwsCredentialsProvider`
may be written in any case. A key given twice has the last value in the file. An unknown key is named with a warning, and with
the key that was probably meant. A key that has no effect, or none yet, is named with a warning too, and its value is not read.

Of the other keys: a number that cannot be read, is negative or too large for anybody, and a true or false that is neither
(`true`, `yes`, `y`, `on`, `1`; `false`, `no`, `n`, `off`, `0` or nothing) leave the default with a warning. A number out of the
bounds given below, unless it is raised to them, and any other value that cannot be read keep the daemon from starting. Of several
credentials providers, one that can be used is enough.
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut page = OPENING.to_owned();
    let mut group = "";
    for row in ROWS {
        if row.group != group {
            group = row.group;
            let _ = writeln!(
                page,
                "\n## {group}\n\n| Key | Field | Unit | Default | Since | What it does |\n|---|---|---|---|---|---|"
            );
        }
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            keys(row),
            code(row.field),
            unit(row.kind),
            row.java_default,
            row.since,
            sentence(row)
        );
    }
    page
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn keys(row: &Row) -> String {
    row.keys().map(|key| code(&key)).collect::<Vec<_>>().join(", ")
}

fn unit(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Count => "number".to_owned(),
        Kind::Millis => "ms".to_owned(),
        Kind::Seconds => "s".to_owned(),
        Kind::Real => "fraction".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::IsoDuration => "ISO 8601 duration".to_owned(),
        Kind::Word(words) => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
        Kind::List => "list".to_owned(),
        Kind::Tags => "`key=value` list".to_owned(),
        Kind::Uri => "address".to_owned(),
        Kind::Arn => "ARN".to_owned(),
        Kind::Region => "region".to_owned(),
        Kind::Credentials => "providers".to_owned(),
        Kind::EpochSeconds => "s since 1970".to_owned(),
        Kind::Command => "command".to_owned(),
        Kind::Class => "–".to_owned(),
    }
}

fn sentence(row: &Row) -> String {
    let mut text = row.doc.replace('|', "\\|");
    match row.bounds {
        Bounds::None => {}
        Bounds::AtLeast(least) => {
            let _ = write!(text, " At least {least}.");
        }
        Bounds::RaisedTo(least) => {
            let _ = write!(text, " Less than {least} is raised to {least}.");
        }
        Bounds::AtMost(most) => {
            let _ = write!(text, " At most {most}.");
        }
    }
    match row.status {
        Status::Active => {}
        Status::Inert(why) => {
            let _ = write!(text, " *No effect: {why}.*");
        }
        Status::Planned(part) => {
            let _ = write!(text, " *Not yet: waits for {part}.*");
        }
    }
    if let Some((_, why)) = super::DEVIATIONS.iter().find(|(field, _)| !field.is_empty() && *field == row.field) {
        let _ = write!(text, " Here: {why}.");
    }
    text
}
