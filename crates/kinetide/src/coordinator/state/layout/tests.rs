use std::time::Duration;

use super::*;
use crate::coordinator::state::entity::{LeaderLock, LockVersion, Tracked};
use crate::stream::Timestamp;

/// Every distinct start. The first line that fits counts; `*` fits all, `|` divides alternatives, `-` is none.
///
/// - leader, version: in the coordinator table (`L`) or the lease table (`T`); `U` upgrading, `2` rolled back, `R` 3.x with
///   roll-back, `3` 3.x.
/// - tables: `I`, `D`, `P` init, deployed, pending; `C` complete in both tables; `X` complete in the lease table only.
/// - silent: owners do not say that they can do with one table.
const DECISIONS: &str = "
leases         index coord metrics leader version     tables  config flag silent  start
*              *     c     *       *      *           -|I     *      on   *       refused: MigratesTooEarly
inuse          -     -     -       -      -           -       3x     *    *       LeasesOnly As2x Init KeptAs2x
*              *     c     *       *      -           -|I|D|P p1     off  *       LeasesOnly As2x Init
*              *     c     m       *      -           -|I|D|P c2     off  *       Separate Dual UpgradeFrom2x
*              *     c     -       *      -           -|I|D|P c2     off  *       Separate Dual UpgradeFrom2x NoMetricsTable
*              *     c     m       *      -           -|I|D|P 3x     off  *       Separate As3x V3x
*              *     c     -       *      -           -|I|D|P 3x     off  *       refused: NoMetricsTable
*              *     c     m       *      LU|TU       -|I|D|P *      off  *       Separate Dual UpgradeFrom2x
*              *     c     -       *      LU|TU       -|I|D|P *      off  *       Separate Dual UpgradeFrom2x NoMetricsTable
*              *     c     *       *      L2|T2       -|I|D|P *      off  *       Separate Dual V2x
*              *     c     m       *      LR|TR       -|I|D|P p1|c2  off  *       Separate Dual V3xWithRollback
*              *     c     m       *      LR|TR|L3|T3 -|I|D|P *      off  *       Separate As3x V3x
*              *     c     -       *      LR|TR|L3|T3 -|I|D|P *      off  *       refused: NoMetricsTable
*              *     c     *       *      L3|T3       D|P     *      on   -       Separate As3x V3x
*              *     c     *       *      L3|T3       D|P     *      on   s       refused: BreaksOldWorkers
*              *     c     *       *      -|LR|TR     D|P     3x     on   -       Separate As3x V3x
*              *     c     *       *      -|LR|TR     D|P     3x     on   s       refused: BreaksOldWorkers
*              *     c     *       *      *           D|P     *      on   *       refused: MigratesTwice
*              *     *     *       *      TU          *       *      *    *       Single Dual UpgradeFrom2x
*              *     *     *       *      T2          *       *      *    *       Single Dual V2x
*              *     *     *       *      TR          *       p1|c2  *    *       Single Dual V3xWithRollback
*              *     *     *       *      TR|T3       *       *      *    *       Single As3x V3x
*              *     *     *       *      *           *       p1     *    *       LeasesOnly As2x Init
*              *     *     *       T      *           *       c2     *    *       Single Dual UpgradeFrom2x
*              *     *     *       *      *           C|X     c2     *    *       Single Dual UpgradeFrom2x
*              *     *     *       T      *           *       3x     *    *       Single As3x V3x
*              *     *     *       *      *           C|X     3x     *    *       Single As3x V3x
missing|empty  *     -     *       -      -           -       3x     *    *       Single As3x V3x NewApplication
*              *     -     *       -      -           -       c2     *    -       Single Dual UpgradeFrom2x
inuse          *     -     *       -      -           -       c2     *    s       Single Dual UpgradeFrom2x SilentOwners
inuse          *     -     *       -      -           -       3x     *    -       Single As3x V3x
inuse          *     -     *       -      -           -       3x     *    s       refused: BreaksOldWorkers
";

const COLUMNS: [&[&str]; 10] = [
    &["missing", "empty", "inuse"],
    &["-", "i"],
    &["-", "c"],
    &["-", "m"],
    &["-", "L", "T"],
    &["-", "LU", "L2", "LR", "L3", "TU", "T2", "TR", "T3"],
    &["-", "I", "D", "P", "C", "X"],
    &["p1", "c2", "3x"],
    &["off", "on"],
    &["-", "s"],
];

type Case = [&'static str; 10];

/// Every case that can be, not only those that should.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Vec<&str>> = vec![Vec::new()];
    for column in COLUMNS {
        let longer = cases.iter().flat_map(|case| column.iter().map(|value| [case.as_slice(), &[*value]].concat()));
        cases = longer.collect();
    }
    let cases = cases.into_iter().map(|case| Case::try_from(case).unwrap());
    cases.filter(is_possible).collect()
}

fn is_possible(case: &Case) -> bool {
    let [leases, index, coord, _, leader, version, tables, _, _, silent] = case;
    let in_legacy = *leader == "L" || version.starts_with('L') || ["I", "D", "P", "C"].contains(tables);
    let in_lease_table = *leader == "T" || version.starts_with('T') || ["C", "X"].contains(tables);
    let has_owners = *silent == "s";
    (*coord == "c" || !in_legacy)
        && (*leases != "missing" || !(in_lease_table || *index == "i"))
        && (*leases == "inuse" || !has_owners)
}

fn place(mark: &str) -> Place {
    if mark.starts_with('L') { Place::Legacy } else { Place::LeaseTable }
}

fn silent() -> Vec<WorkerId> {
    vec![WorkerId::new("old").unwrap()]
}

fn facts(case: &Case) -> Facts {
    let [leases, index, coord, metrics, leader, version, tables, config, flag, owners] = *case;
    let versions = match version.chars().nth(1) {
        Some('U') => vec![ClientVersion::UpgradeFrom2x],
        Some('2') => vec![ClientVersion::V2x],
        Some('R') => vec![ClientVersion::V3xWithRollback],
        Some(_) => vec![ClientVersion::V3x],
        None => vec![],
    };
    let complete = (Place::LeaseTable, TableStatus::Complete);
    Facts {
        lease_table: match leases {
            "missing" => LeaseTableFound::Missing,
            "empty" => LeaseTableFound::Empty,
            _ => LeaseTableFound::InUse,
        },
        has_index: index == "i",
        has_coordinator_table: coord == "c",
        has_metrics_table: metrics == "m",
        leader: (leader != "-").then(|| place(leader)).into_iter().collect(),
        versions: versions.into_iter().map(|found| (place(version), found)).collect(),
        tables: match tables {
            "-" => vec![],
            "I" => vec![(Place::Legacy, TableStatus::Init)],
            "D" => vec![(Place::Legacy, TableStatus::Deployed)],
            "P" => vec![(Place::Legacy, TableStatus::Pending)],
            "C" => vec![(Place::Legacy, TableStatus::Complete), complete],
            _ => vec![complete],
        },
        owners_without_support: if owners == "s" { silent() } else { vec![] },
        config: match config {
            "p1" => ClientVersionConfig::CompatibleWith2xPhase1,
            "c2" => ClientVersionConfig::CompatibleWith2x,
            _ => ClientVersionConfig::V3x,
        },
        migrates: flag == "on",
    }
}

/// What the table says about a case, and the line that says it.
fn expected(case: &Case) -> (usize, String) {
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern.split('|').any(|other| other == value);
    for (line, text) in DECISIONS.trim().lines().enumerate().skip(1) {
        let words: Vec<_> = text.split_whitespace().collect();
        if words[..10].iter().zip(case).all(|(pattern, value)| fits(pattern, value)) {
            return (line, words[10..].join(" "));
        }
    }
    panic!("no line for {case:?}");
}

/// A start in the words of the table, without the one note that goes with every line.
fn words(decision: &Result<Start, Refusal>) -> String {
    let name = |value: &dyn fmt::Debug| {
        let text = format!("{value:?}");
        text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    };
    match decision {
        Err(refusal) => format!("refused: {}", name(refusal)),
        Ok(Start { layout, mode, version, notes, .. }) => {
            let notes = notes.iter().filter(|note| **note != Note::StrayCoordinatorTable);
            let words = [format!("{layout:?} {mode:?} {version:?}")].into_iter().chain(notes.map(|note| name(note)));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn every_start_is_as_the_table_says() {
    let mut used = BTreeSet::new();
    for case in cases() {
        let (line, start) = expected(&case);
        used.insert(line);
        assert_eq!(words(&decide(&facts(&case))), start, "line {line}: {case:?}");
    }
    assert_eq!(used.len(), DECISIONS.trim().lines().count() - 1, "a line that never counts");
}

#[test]
fn what_holds_for_every_start() {
    for case in cases() {
        let (facts, decision) = (facts(&case), decide(&facts(&case)));
        let Ok(start) = decision else { continue };
        assert_eq!(start.layout == Layout::LeasesOnly, start.version == ClientVersion::Init, "{case:?}");
        assert_eq!(start.mode, Mode::of(start.version));
        if start.layout == Layout::Separate {
            assert!(facts.has_coordinator_table && start.table != TableStatus::Complete, "{case:?}");
            assert_eq!(start.table == TableStatus::Pending, facts.migrates, "{case:?}");
        }
        if start.layout == Layout::Single {
            assert_eq!(start.table, TableStatus::Complete, "{case:?}");
        }
        let [.., coord, _, _, _, tables, _, _, _] = case;
        let is_stray = (coord, tables) == ("c", "X");
        assert_eq!(start.notes.contains(&Note::StrayCoordinatorTable), is_stray, "{case:?}");
    }
}

/// The rule of its own, in words.
#[test]
fn a_table_in_use_without_a_sign_of_3x_gets_nothing_but_leases() {
    let plain = facts(&["inuse", "-", "-", "-", "-", "-", "-", "3x", "off", "s"]);
    let start = decide(&plain).unwrap();
    assert_eq!((start.layout, start.mode), (Layout::LeasesOnly, Mode::As2x));
    assert!(start.notes[0].to_string().contains("writing nothing but leases"));
    let signs: [fn(&mut Facts); 5] = [
        |facts| facts.has_index = true,
        |facts| facts.leader = BTreeSet::from([Place::LeaseTable]),
        |facts| facts.versions = vec![(Place::LeaseTable, ClientVersion::V3x)],
        |facts| facts.tables = vec![(Place::LeaseTable, TableStatus::Complete)],
        |facts| (facts.has_coordinator_table, facts.has_metrics_table) = (true, true),
    ];
    for (index, sign) in signs.into_iter().enumerate() {
        let mut facts = Facts { owners_without_support: vec![], ..plain.clone() };
        sign(&mut facts);
        assert_eq!(decide(&facts).unwrap().mode, Mode::As3x, "sign {index}");
    }
    let empty = Facts { lease_table: LeaseTableFound::Empty, ..plain };
    let start = decide(&empty).unwrap();
    assert_eq!((start.layout, start.mode), (Layout::Single, Mode::As3x));
    assert!(start.notes[0].to_string().ends_with("workers older than 3.5 cannot join"));
}

#[test]
fn of_two_versions_the_coordinator_tables_counts_until_the_end() {
    let both = vec![(Place::LeaseTable, ClientVersion::V3x), (Place::Legacy, ClientVersion::V2x)];
    let separate =
        Facts { versions: both.clone(), ..facts(&["inuse", "i", "c", "m", "-", "-", "D", "3x", "off", "-"]) };
    assert_eq!(decide(&separate).unwrap().version, ClientVersion::V2x);
    let single = Facts { versions: both, ..facts(&["inuse", "i", "c", "m", "-", "-", "C", "3x", "off", "-"]) };
    assert_eq!(decide(&single).unwrap().version, ClientVersion::V3x);
}

#[test]
fn items_are_noted_where_they_were_found() {
    let mut facts = facts(&["inuse", "-", "c", "m", "-", "-", "-", "3x", "off", "-"]);
    let at = Timestamp::from_millis(0);
    facts.note(Place::Legacy, &Entity::ClientVersion(Tracked::created(ClientVersion::V3x, "w", at)));
    facts.note(Place::Legacy, &Entity::TableMigration(Tracked::created(TableStatus::Deployed, "w", at)));
    let lock = LeaderLock {
        owner: silent().remove(0),
        duration: Duration::ZERO,
        version: LockVersion::new("v"),
        is_released: false,
    };
    facts.note(Place::Legacy, &Entity::Leader(lock));
    assert_eq!(facts.versions, [(Place::Legacy, ClientVersion::V3x)]);
    assert_eq!(facts.leader, BTreeSet::from([Place::Legacy]));
    assert_eq!(decide(&facts).unwrap().table, TableStatus::Deployed);
}

#[test]
fn a_version_that_no_worker_writes_is_refused() {
    let odd = vec![(Place::LeaseTable, ClientVersion::Init)];
    let facts = Facts { versions: odd, ..facts(&["inuse", "i", "-", "-", "-", "-", "-", "3x", "off", "-"]) };
    assert_eq!(decide(&facts), Err(Refusal::NotAStoredVersion { version: ClientVersion::Init }));
}

#[test]
fn silent_owners_are_named() {
    let facts = facts(&["inuse", "-", "-", "-", "-", "-", "-", "c2", "off", "s"]);
    let start = decide(&facts).unwrap();
    assert_eq!(start.notes, [Note::SilentOwners(silent())]);
    assert!(start.notes[0].to_string().ends_with("first: old"));
}
