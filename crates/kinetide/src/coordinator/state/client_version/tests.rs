use std::collections::BTreeSet;

use super::*;
use crate::coordinator::state::entity::{Place, Status};
use crate::coordinator::state::fleet::Report;

const CONFIGS: [ClientVersionConfig; 3] = ClientVersionConfig::ALL;

fn me() -> WorkerId {
    WorkerId::new("me").unwrap()
}

fn now(seconds: u64) -> Now {
    let wall = i64::try_from(seconds).unwrap() * 1_000 + 1_000_000_000;
    Now { monotonic: Moment::at(Duration::from_secs(seconds)), wall: Timestamp::from_millis(wall) }
}

fn item(status: ClientVersion) -> Tracked<ClientVersion> {
    Tracked::created(status, "somebody", Timestamp::from_millis(7))
}

fn state(version: ClientVersion) -> VersionState {
    VersionState::new(version, ClientVersionConfig::V3x)
}

/// One owner, who reported at this second.
fn fleet(reported: u64) -> Fleet {
    let report =
        Report { worker: me(), place: Place::LeaseTable, updated_at: Some(1_000_000 + reported), support: None };
    Fleet { owners: BTreeSet::from([Some(me())]), reports: vec![report] }
}

/// The table of the reference: configurations against what is stored.
#[test]
fn where_a_worker_starts() {
    let starts = |stored| CONFIGS.map(|config| initial(config, stored));
    assert_eq!(starts(None), [Ok(Init), Ok(UpgradeFrom2x), Ok(V3x)]);
    assert_eq!(starts(Some(V3xWithRollback)), [Ok(V3xWithRollback), Ok(V3xWithRollback), Ok(V3x)]);
    for version in [V2x, UpgradeFrom2x, V3x] {
        assert_eq!(starts(Some(version)), [(); 3].map(|()| Ok(version)));
    }
    assert_eq!(starts(Some(Init)), std::array::from_fn(|_| Err(Refusal::NotAStoredVersion { version: Init })));
}

/// The other table of the reference: what each state implies.
#[test]
fn what_a_worker_does_where() {
    let row = |version| {
        let Duties { leader, assignment, index, reports, watches_readiness, watches_version } = duties(version);
        (leader, assignment, index, reports, watches_readiness, watches_version)
    };
    use AssignmentKind::{Leader, Taker};
    use LeaderKind::{Deterministic, Lock};
    assert_eq!(row(Init), (Deterministic, Taker, Index::Left, false, false, false));
    assert_eq!(row(UpgradeFrom2x), (Deterministic, Taker, Index::Created, true, true, true));
    assert_eq!(row(V2x), (Deterministic, Taker, Index::Left, false, false, true));
    assert_eq!(row(V3xWithRollback), (Lock, Leader, Index::Assumed, true, false, true));
    assert_eq!(row(V3x), (Lock, Leader, Index::Awaited, true, false, false));
}

#[test]
fn entering_writes_only_what_differs() {
    let wall = Timestamp::from_millis(9);
    assert_eq!(entry(Init, None, &me(), wall), None);
    assert_eq!(entry(V3x, Some(&item(V3x)), &me(), wall), None);
    let Some(StatusWrite::Create(created)) = entry(V3x, None, &me(), wall) else { panic!() };
    assert_eq!((created.status, created.modified_by.as_str(), created.history.len()), (V3x, "me", 1));
    let before = item(V3xWithRollback);
    let Some(StatusWrite::Update { from, to }) = entry(V3x, Some(&before), &me(), wall) else { panic!() };
    assert_eq!((&from, to.status, to.history[0].status), (&before, V3x, V3xWithRollback));
}

/// Every pair of states: where the worker is then, and what it does.
#[test]
fn every_move_is_made_or_ignored() {
    use Action::{Assign, CreateIndex, Ignore, Lead, Report, Start};
    let to_2x = vec![Report(false), Assign(AssignmentKind::Taker), Lead(LeaderKind::Deterministic)];
    let to_3x = vec![Assign(AssignmentKind::Leader), Lead(LeaderKind::Lock)];
    for &here in ClientVersion::ALL {
        for &there in ClientVersion::ALL {
            let stored = item(there);
            let seen =
                Observation { me: &me(), leads: false, stored: Some(&stored), index_is_active: true, fleet: None };
            let (after, actions) = step(state(here), &seen, now(0));
            let ignored = (here, vec![Ignore { stored: there }]);
            let expected = match (here, there) {
                (Init, Init) | (V3x, _) => (here, vec![]),
                (Init, V3xWithRollback) => (V3x, vec![Start(V3x)]),
                (Init, _) => (there, vec![Start(there)]),
                (_, _) if here == there => (here, vec![]),
                (V2x, UpgradeFrom2x) => (there, vec![CreateIndex, Report(true)]),
                (UpgradeFrom2x, V2x) => (there, vec![Report(false)]),
                (UpgradeFrom2x, V3xWithRollback) => (there, to_3x.clone()),
                (V3xWithRollback, V2x) => (there, to_2x.clone()),
                (V3xWithRollback, V3x) => (there, vec![]),
                _ => ignored,
            };
            assert_eq!((after.version, actions), expected, "{here:?} {there:?}");
            assert_eq!(after.is_final(), after.version == V3x);
        }
    }
}

#[test]
fn who_is_told_starts_as_configured() {
    let stored = item(V3xWithRollback);
    let seen = Observation { me: &me(), leads: true, stored: Some(&stored), index_is_active: true, fleet: None };
    let phase1 = VersionState::new(Init, ClientVersionConfig::CompatibleWith2xPhase1);
    let (after, actions) = step(phase1, &seen, now(0));
    assert_eq!((after.version, actions), (V3xWithRollback, vec![Action::Start(V3xWithRollback)]));
    let (after, actions) = step(phase1, &Observation { stored: None, ..seen }, now(0));
    assert_eq!((after, actions), (phase1, vec![]), "nothing stored, nothing to do");
}

/// A leader that looks every minute; what it has written by then.
struct Watch {
    state: VersionState,
    stored: Tracked<ClientVersion>,
}

impl Watch {
    fn new() -> Self {
        Self { state: state(UpgradeFrom2x), stored: item(UpgradeFrom2x) }
    }

    fn look(&mut self, second: u64, change: impl FnOnce(&mut Observation<'_>)) -> Vec<Action> {
        self.look_at(&fleet(second), second, change)
    }

    fn look_at(&mut self, fleet: &Fleet, second: u64, change: impl FnOnce(&mut Observation<'_>)) -> Vec<Action> {
        let me = me();
        let mut seen =
            Observation { me: &me, leads: true, stored: Some(&self.stored), index_is_active: true, fleet: Some(fleet) };
        change(&mut seen);
        let (state, actions) = step(self.state, &seen, now(second));
        self.state = state;
        actions
    }
}

#[test]
fn the_fleet_must_be_ready_for_ten_minutes() {
    let mut watch = Watch::new();
    for second in (0..600).step_by(60) {
        assert_eq!(watch.look(second, |_| {}), []);
    }
    let actions = watch.look(600, |_| {});
    let [Action::Write(StatusWrite::Update { from, to })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*from, watch.stored);
    assert_eq!((to.status, to.modified_by.as_str(), to.modified_at), (V3xWithRollback, "me", now(600).wall));
    assert_eq!(watch.state.version, UpgradeFrom2x, "it moves when it reads so, like everybody");
    assert_eq!(watch.look(660, |_| {}).len(), 1, "if the write was lost, again");
    watch.stored = item(V3xWithRollback);
    assert_eq!(watch.look(720, |_| {}).len(), 2);
    assert_eq!(watch.state, state(V3xWithRollback));
}

#[test]
fn whatever_breaks_readiness_begins_it_anew() {
    let breaks: [fn(&mut Watch) -> Vec<Action>; 3] = [
        |watch| watch.look(540, |seen| seen.leads = false),
        |watch| watch.look(540, |seen| seen.index_is_active = false),
        |watch| watch.look_at(&fleet(0), 540, |_| {}),
    ];
    for (case, breaks) in breaks.into_iter().enumerate() {
        let mut watch = Watch::new();
        watch.look(0, |_| {});
        assert_eq!(breaks(&mut watch), []);
        assert_eq!(watch.look(660, |_| {}), [], "{case}");
        assert_eq!(watch.look(1_259, |_| {}), [], "{case}");
        assert_eq!(watch.look(1_260, |_| {}).len(), 1, "{case}");
    }
}

#[test]
fn what_was_not_looked_at_changes_nothing() {
    let mut watch = Watch::new();
    watch.look(0, |_| {});
    assert_eq!(watch.look(300, |seen| seen.fleet = None), []);
    assert_eq!(watch.look(600, |seen| seen.stored = None), [], "nothing to write against");
    assert_eq!(watch.look(660, |_| {}).len(), 1);
}

#[test]
fn only_a_leader_on_the_way_up_watches() {
    for &version in ClientVersion::ALL.iter().filter(|version| **version != UpgradeFrom2x) {
        let (me, fleet) = (me(), fleet(10_000));
        let seen = Observation { me: &me, leads: true, stored: None, index_is_active: true, fleet: Some(&fleet) };
        let (after, _) = step(state(version), &seen, now(0));
        assert_eq!(step(after, &seen, now(10_000)), (state(version), vec![]));
    }
}

#[test]
fn the_tool_moves_where_there_is_a_way() {
    let wall = Timestamp::from_millis(99);
    for &version in ClientVersion::ALL {
        let back = roll_back(&item(version), wall);
        match version {
            V2x => assert_eq!(back, Ok(None)),
            UpgradeFrom2x | V3xWithRollback => {
                let Ok(Some(StatusWrite::Update { from, to })) = back else { panic!("{back:?}") };
                assert_eq!(
                    (from.status, to.status, to.modified_by.as_str()),
                    (version, V2x, "KclMigrationTool-rollback")
                );
            }
            Init | V3x => assert_eq!(back, Err(Refusal::CannotRollBack { version })),
        }
        let forward = roll_forward(&item(version), wall);
        match (version, forward) {
            (V2x, Ok(StatusWrite::Update { to, .. })) => {
                assert_eq!((to.status, to.modified_by.as_str()), (UpgradeFrom2x, "KclMigrationTool-rollforward"));
            }
            (_, forward) => assert_eq!(forward, Err(Refusal::CannotRollForward { version })),
        }
    }
}

/// From the first deployment to the last, and a roll-back between, as all workers of a fleet see it.
#[test]
fn a_fleet_goes_up_and_down_and_up() {
    let config = ClientVersionConfig::CompatibleWith2x;
    let mut stored = item(UpgradeFrom2x);
    let mut worker = VersionState::new(initial(config, None).unwrap(), config);
    let (me, wall) = (me(), Timestamp::from_millis(1));
    let see = |worker: &mut VersionState, stored: &Tracked<ClientVersion>| {
        let seen = Observation { me: &me, leads: false, stored: Some(stored), index_is_active: true, fleet: None };
        *worker = step(*worker, &seen, now(0)).0;
        worker.version
    };
    let mut path = vec![see(&mut worker, &stored)];
    stored = stored.changed(V3xWithRollback, "leader", wall);
    path.push(see(&mut worker, &stored));
    let Ok(Some(StatusWrite::Update { to, .. })) = roll_back(&stored, wall) else { panic!() };
    path.push(see(&mut worker, &to));
    let Ok(StatusWrite::Update { to, .. }) = roll_forward(&to, wall) else { panic!() };
    path.push(see(&mut worker, &to));
    stored = to.changed(V3xWithRollback, "leader", wall).changed(V3x, "deployed with 3X", wall);
    path.push(see(&mut worker, &stored));
    assert_eq!(path, [UpgradeFrom2x, V3xWithRollback, V2x, UpgradeFrom2x, V3x], "one move was not seen");
}

#[test]
fn moves_that_were_not_seen_are_caught_up_with_if_each_was_one() {
    let wall = Timestamp::from_millis(1);
    let after = |here, moves: &[ClientVersion]| {
        let stored = moves.iter().fold(item(here), |item, version| item.changed(*version, "x", wall));
        let seen = Observation { me: &me(), leads: false, stored: Some(&stored), index_is_active: true, fleet: None };
        let (state, actions) = step(state(here), &seen, now(0));
        (state.version, actions)
    };
    use Action::{Assign, CreateIndex, Ignore, Lead, Report};
    let to_3x = vec![Assign(AssignmentKind::Leader), Lead(LeaderKind::Lock)];
    let to_2x = [Assign(AssignmentKind::Taker), Lead(LeaderKind::Deterministic)];
    assert_eq!(after(UpgradeFrom2x, &[V3xWithRollback, V3x]), (V3x, to_3x.clone()));
    let (version, actions) = after(V2x, &[UpgradeFrom2x, V3xWithRollback]);
    assert_eq!(
        (version, &actions[..2], &actions[2..]),
        (V3xWithRollback, &[CreateIndex, Report(true)][..], &to_3x[..])
    );
    let (version, actions) = after(V3xWithRollback, &[V2x, UpgradeFrom2x]);
    assert_eq!((version, &actions[..1], &actions[1..]), (UpgradeFrom2x, &[CreateIndex][..], &to_2x[..]));
    assert_eq!(after(UpgradeFrom2x, &[V3x]), (UpgradeFrom2x, vec![Ignore { stored: V3x }]));
    assert_eq!(after(V2x, &[V3xWithRollback, V3x]), (V2x, vec![Ignore { stored: V3x }]));
}
