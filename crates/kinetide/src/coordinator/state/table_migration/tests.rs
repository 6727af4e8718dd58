use std::collections::BTreeSet;

use super::*;
use crate::clock::Moment;
use crate::coordinator::state::entity::Status;
use crate::coordinator::state::fleet::Report;
use crate::coordinator::worker_metrics::item::Support;

/// Seconds since 1970 at which everything happens.
const SECOND: u64 = 2_000_000;

fn now() -> Now {
    let wall = Timestamp::from_millis(i64::try_from(SECOND).unwrap() * 1_000);
    Now { monotonic: Moment::at(Duration::ZERO), wall }
}

fn me() -> WorkerId {
    WorkerId::new("me").unwrap()
}

/// A status set so many seconds ago.
fn item(status: TableStatus, seconds_ago: u64) -> Tracked<TableStatus> {
    let at = i64::try_from(SECOND - seconds_ago).unwrap() * 1_000;
    Tracked::created(status, "somebody", Timestamp::from_millis(at))
}

fn report(worker: &WorkerId, place: Place, code: u64) -> Report {
    let support = Some(Support { code, at: SECOND - 10 });
    Report { worker: worker.clone(), place, updated_at: Some(SECOND - 10), support }
}

/// This worker owns leases and reports to this table.
fn fleet(place: Place) -> Fleet {
    Fleet { owners: BTreeSet::from([Some(me()), None]), reports: vec![report(&me(), place, 1)] }
}

fn old_fleet() -> Fleet {
    Fleet { reports: vec![report(&me(), Place::Legacy, 0)], ..fleet(Place::Legacy) }
}

fn state(at: TableStatus, migrates: bool) -> TableState {
    TableState { at, writes_to: write_place(at), migrates, bake_time: COMPLETE_BAKE_TIME }
}

fn legacy(keys: &[&str]) -> Vec<LegacyItem> {
    let item = |key: &&str| LegacyItem { key: (*key).to_owned(), is_typed: true, is_in_lease_table: false };
    keys.iter().map(item).collect()
}

/// What the leader does, and where it is then.
fn lead(
    state: TableState,
    stored: Option<&Tracked<TableStatus>>,
    fleet: &Fleet,
    items: &[LegacyItem],
) -> (TableStatus, Vec<Action>) {
    let me = me();
    let seen = Observation { me: &me, leads: true, stored, fleet: Some(fleet), legacy: Some(items) };
    let (state, actions) = step(state, &seen, now());
    (state.at, actions)
}

#[track_caller]
fn updates(actions: &[Action], from: &Tracked<TableStatus>, to: TableStatus) {
    let [Action::Write(StatusWrite::Update { from: before, to: after })] = actions else { panic!("{actions:?}") };
    assert_eq!((before, after.status, after.history[0].status), (from, to, from.status));
    assert_eq!((after.modified_by.as_str(), after.modified_at), ("me", now().wall));
}

/// The table of the reference: what is stored against the flag.
#[test]
fn what_a_worker_is_at() {
    let too_early = |stored| Err(Refusal::MigratesTooEarly { stored });
    let rows = [
        (None, false, Ok(Complete), Ok(Complete)),
        (None, true, Ok(Init), too_early(None)),
        (Some(Init), true, Ok(Init), too_early(Some(Init))),
        (Some(Deployed), true, Ok(Deployed), Ok(Pending)),
        (Some(Pending), true, Ok(Deployed), Ok(Pending)),
        (Some(Complete), true, Ok(Complete), Ok(Complete)),
        (Some(Complete), false, Ok(Complete), Ok(Complete)),
    ];
    for (stored, has_table, off, on) in rows {
        assert_eq!(local(stored, has_table, false), off, "{stored:?}");
        assert_eq!(local(stored, has_table, true), on, "{stored:?}");
    }
}

#[test]
fn where_things_are() {
    let rows = TableStatus::ALL.iter().map(|at| (write_place(*at), read_places(*at).len(), lock_place(*at)));
    let expected = [
        (Place::Legacy, 2, Place::Legacy),
        (Place::Legacy, 2, Place::Legacy),
        (Place::LeaseTable, 2, Place::Legacy),
        (Place::LeaseTable, 1, Place::LeaseTable),
    ];
    assert!(rows.eq(expected));
    assert_eq!(read_places(Pending)[0], Place::Legacy, "the first counts");
}

#[test]
fn bake_times_have_bounds() {
    let bounded = |seconds| bounded_bake_time(Duration::from_secs(seconds)).as_secs();
    assert_eq!([0, 3_599, 7_200, 604_801].map(bounded), [3_600, 3_600, 7_200, 604_800]);
    let state = TableState::start(None, true, false, Duration::ZERO, &[]).unwrap();
    assert_eq!(state.bake_time, COMPLETE_BAKE_TIME_MIN);
}

#[test]
fn nobody_writes_beside_leases_that_old_workers_read() {
    let start = |stored, migrates, silent: &[WorkerId]| {
        TableState::start(Some(stored), true, migrates, COMPLETE_BAKE_TIME, silent).map(|state| state.writes_to)
    };
    let old = [WorkerId::new("old").unwrap()];
    for stored in [Deployed, Pending] {
        assert_eq!(start(stored, true, &[]), Ok(Place::LeaseTable));
        assert_eq!(start(stored, true, &old), Err(Refusal::BreaksOldWorkers { workers: old.to_vec() }));
        assert_eq!(start(stored, false, &old), Ok(Place::Legacy));
    }
    assert_eq!(start(Complete, true, &old), Ok(Place::LeaseTable), "it is too late to refuse");
}

#[test]
fn init_begins_and_ends_with_what_every_worker_supports() {
    let (ready, old) = (fleet(Place::Legacy), old_fleet());
    let (at, actions) = lead(state(Init, false), None, &ready, &[]);
    let [Action::Write(StatusWrite::Create(created))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((at, created.status, created.modified_at), (Init, Init, now().wall));
    assert_eq!(lead(state(Init, false), None, &old, &[]), (Init, vec![]));
    let stored = item(Init, 3_600);
    let (at, actions) = lead(state(Init, false), Some(&stored), &ready, &[]);
    updates(&actions, &stored, Deployed);
    assert_eq!(at, Init, "a write moves nobody: it may be lost");
    let young = item(Init, 3_599);
    assert_eq!(lead(state(Init, false), Some(&young), &ready, &[]), (Init, vec![]));
    let deletes = vec![Action::Write(StatusWrite::Delete(stored.clone()))];
    assert_eq!(lead(state(Init, false), Some(&stored), &old, &[]), (Init, deletes), "the hour begins anew");
}

#[test]
fn every_worker_goes_by_what_is_stored() {
    let me = me();
    let follow = |at, migrates, stored: Option<TableStatus>| {
        let stored = stored.map(|status| item(status, 0));
        let seen = Observation { me: &me, leads: false, stored: stored.as_ref(), fleet: None, legacy: None };
        let (after, actions) = step(state(at, migrates), &seen, now());
        assert_eq!(after.writes_to, write_place(at), "fixed when it started");
        (after.at, actions)
    };
    assert_eq!(follow(Init, false, Some(Deployed)), (Deployed, vec![]));
    assert_eq!(follow(Deployed, false, Some(Pending)), (Deployed, vec![]));
    assert_eq!(follow(Deployed, false, Some(Init)), (Init, vec![]));
    assert_eq!(follow(Deployed, false, None), (Init, vec![]));
    assert_eq!(follow(Pending, true, Some(Deployed)), (Pending, vec![]));
    assert_eq!(follow(Pending, true, Some(Init)), (Init, vec![]), "set back by hand");
    assert_eq!(follow(Pending, true, None), (Pending, vec![]));
    for at in [Init, Deployed, Pending] {
        assert_eq!(follow(at, at == Pending, Some(Complete)), (Complete, vec![Action::ChangeLock]));
    }
    assert_eq!(follow(Complete, false, Some(Init)), (Complete, vec![]), "for good");
}

#[test]
fn without_the_flag_a_move_is_taken_back() {
    let stored = item(Pending, 5);
    let (at, actions) = lead(state(Deployed, false), Some(&stored), &fleet(Place::Legacy), &[]);
    updates(&actions, &stored, Deployed);
    assert_eq!(at, Deployed);
    let stored = item(Deployed, 1_000_000);
    assert_eq!(lead(state(Deployed, false), Some(&stored), &fleet(Place::Legacy), &[]), (Deployed, vec![]));
}

#[test]
fn items_move_once_everybody_writes_to_the_lease_table() {
    let stored = item(Deployed, 0);
    let items = legacy(&["Leader", "Migration3.0", "TableMigration3.5", "1234:orders:5"]);
    let lead = |fleet: &Fleet, items: &[LegacyItem]| lead(state(Pending, true), Some(&stored), fleet, items);
    let mut late = fleet(Place::LeaseTable);
    late.reports.push(report(&WorkerId::new("late").unwrap(), Place::Legacy, 1));
    assert_eq!(lead(&late, &items), (Pending, vec![]));
    assert_eq!(lead(&Fleet { reports: vec![], ..late }, &items), (Pending, vec![]));
    let (at, actions) = lead(&fleet(Place::LeaseTable), &items);
    let key = |key: &str| key.to_owned();
    let operations = vec![
        Operation::RequireLeader { place: Place::Legacy, worker: me() },
        Operation::CopyToLeaseTable { key: key("Migration3.0") },
        Operation::DeleteLegacy { key: key("Migration3.0") },
        Operation::CopyToLeaseTable { key: key("1234:orders:5") },
        Operation::DeleteLegacy { key: key("1234:orders:5") },
    ];
    assert_eq!((at, actions), (Pending, vec![Action::Move(vec![Transaction { operations }])]));
    let (_, actions) = lead(&fleet(Place::LeaseTable), &legacy(&["Leader", "TableMigration3.5"]));
    updates(&actions, &stored, Pending);
}

#[test]
fn many_items_move_in_many_transactions() {
    let keys: Vec<_> = (0..51).map(|index| format!("stream-{index}")).collect();
    let items = legacy(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let (_, actions) = lead(state(Pending, true), Some(&item(Deployed, 0)), &fleet(Place::LeaseTable), &items);
    let [Action::Move(transactions)] = &actions[..] else { panic!("{actions:?}") };
    let sizes: Vec<_> = transactions.iter().map(|transaction| transaction.operations.len()).collect();
    assert_eq!(sizes, [51, 51, 3]);
    let fence = Operation::RequireLeader { place: Place::Legacy, worker: me() };
    assert!(transactions.iter().all(|transaction| transaction.operations[0] == fence));
}

#[test]
fn nothing_moves_while_something_cannot() {
    let mut items = legacy(&["Migration3.0", "odd", "twin"]);
    items[1].is_typed = false;
    items[2].is_in_lease_table = true;
    let (_, actions) = lead(state(Pending, true), Some(&item(Deployed, 0)), &fleet(Place::LeaseTable), &items);
    let block = |block| Action::Block(block);
    let expected = [block(Block::Untyped { key: "odd".into() }), block(Block::ExistsTwice { key: "twin".into() })];
    assert_eq!(actions, expected);
}

#[test]
fn pending_ends_in_both_tables_at_once() {
    let quiet = fleet(Place::LeaseTable);
    let left = legacy(&["Leader", "TableMigration3.5"]);
    let young = item(Pending, 86_399);
    assert_eq!(lead(state(Pending, true), Some(&young), &quiet, &left), (Pending, vec![]));
    let stored = item(Pending, 86_400);
    let (at, actions) = lead(state(Pending, true), Some(&stored), &quiet, &left);
    let to = stored.changed(Complete, "me", now().wall);
    let operations = vec![
        Operation::RequireLeader { place: Place::Legacy, worker: me() },
        Operation::CreateStatus(to.clone()),
        Operation::ChangeStatus { from: stored.clone(), to },
    ];
    assert_eq!((at, actions), (Pending, vec![Action::Complete(Transaction { operations })]));
    let silent = Fleet { reports: vec![], ..quiet };
    assert_eq!(lead(state(Pending, true), Some(&stored), &silent, &left), (Pending, vec![]), "not while one is silent");
}

#[test]
fn pending_goes_back_when_anybody_writes_to_the_old_tables() {
    let stored = item(Pending, 1_000_000);
    let mut back = fleet(Place::LeaseTable);
    let (_, actions) = lead(state(Pending, true), Some(&stored), &back, &legacy(&["Leader", "Migration3.0"]));
    updates(&actions, &stored, Deployed);
    back.reports.push(report(&WorkerId::new("old").unwrap(), Place::Legacy, 0));
    let (at, actions) = lead(state(Pending, true), Some(&stored), &back, &[]);
    updates(&actions, &stored, Deployed);
    assert_eq!(at, Pending, "itself it stays at the second deployment");
}

#[test]
fn a_deleted_status_is_made_anew_once_all_support_it() {
    let (_, actions) = lead(state(Pending, true), None, &fleet(Place::LeaseTable), &[]);
    assert!(matches!(&actions[..], [Action::Write(StatusWrite::Create(item))] if item.status == Deployed));
    assert_eq!(lead(state(Pending, true), None, &old_fleet(), &[]), (Pending, vec![]));
}

#[test]
fn a_leader_that_has_not_looked_does_nothing() {
    let me = me();
    for (at, stored) in [(Init, None), (Init, Some(Init)), (Pending, Some(Deployed)), (Pending, Some(Pending))] {
        let stored = stored.map(|status| item(status, 1_000_000));
        for fleet in [None, Some(&fleet(Place::LeaseTable))] {
            let fleet = fleet.filter(|_| at == Pending);
            let seen = Observation { me: &me, leads: true, stored: stored.as_ref(), fleet, legacy: None };
            assert_eq!(step(state(at, at == Pending), &seen, now()).1, []);
        }
    }
}

/// A fleet of 3.4 that is deployed twice, and the second time taken back once; every write is applied.
#[test]
fn a_fleet_moves_into_one_table() {
    let mut stored: Option<Tracked<TableStatus>> = None;
    let mut path = Vec::new();
    let looks = [
        (false, Place::Legacy),
        (false, Place::Legacy),
        (true, Place::LeaseTable),
        (false, Place::Legacy),
        (true, Place::LeaseTable),
        (true, Place::LeaseTable),
    ];
    for (migrates, place) in looks {
        // A week between two looks.
        if let Some(item) = &mut stored {
            item.modified_at = Timestamp::from_millis(now().wall.as_millis() - 604_800_000);
        }
        let start = TableState::start(stored.as_ref().map(|item| item.status), true, migrates, Duration::ZERO, &[]);
        let (_, actions) = lead(start.unwrap(), stored.as_ref(), &fleet(place), &legacy(&["Leader"]));
        stored = match actions.into_iter().next() {
            Some(Action::Write(StatusWrite::Create(to) | StatusWrite::Update { to, .. })) => Some(to),
            Some(Action::Complete(Transaction { operations })) => match operations.into_iter().next_back() {
                Some(Operation::ChangeStatus { to, .. }) => Some(to),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        path.extend(stored.as_ref().map(|item| item.status));
    }
    assert_eq!(path, [Init, Deployed, Pending, Deployed, Pending, Complete]);
}
