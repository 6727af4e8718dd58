//! What the exploration rests on: the library's transitions and the model agree on every small row, a real lease table
//! does the same, and the normal form of a state loses nothing.

use kinetide::Rng;
use kinetide::lease::{Claim, LeaseTable, MemoryLeaseTable};

use super::config::Config;
use super::configurations as the;
use super::key::key;
use super::model::{Answer, Kind, Write};
use super::rows::{END, Names, Row, START};
use super::stage::Stage;
use super::step;
use super::table;
use super::worker::take_step;
use super::world::World;

/// Rows that differ from each other in everything a condition or a change looks at.
fn small_rows() -> Vec<Row> {
    let owners = [None, Some(0), Some(1)];
    let mut rows = Vec::new();
    for owner in owners {
        for checkpoint_owner in owners {
            for (counter, checkpoint, pending, children) in [
                (3, START, None, false),
                (4, 1, None, false),
                (4, 1, Some(2), true),
                (4, END, None, true),
                (5, 1, Some(2), false),
            ] {
                let switches = counter - 3;
                rows.push(Row { owner, checkpoint_owner, counter, switches, checkpoint, pending, children });
            }
        }
    }
    rows
}

const KINDS: [Kind; 15] = [
    Kind::Create,
    Kind::Take,
    Kind::Renew,
    Kind::Checkpoint(1),
    Kind::Checkpoint(2),
    Kind::Checkpoint(END),
    Kind::Prepare(2),
    Kind::Prepare(3),
    Kind::Release,
    Kind::ReleaseAbandoned,
    Kind::NameChildren,
    Kind::Delete,
    Kind::Ask,
    Kind::Withdraw,
    Kind::Forget,
];

/// Every request of every worker, however stale its knowledge, about every row and about none.
#[test]
fn the_library_does_to_every_small_row_what_the_model_says() {
    let names = Names::new(2, &[&[1], &[]]);
    let rows = small_rows();
    let mut requests = 0;
    for row in rows.iter().copied().map(Some).chain([None]) {
        for known in &rows {
            for kind in KINDS {
                for by in [0, 1] {
                    let write = Write { by, lease: 0, kind, known: *known };
                    table::apply(&names, None, row, &write)
                        .unwrap_or_else(|violation| panic!("{write:?}: {violation}"));
                    requests += 1;
                }
            }
        }
    }
    assert!(requests > 60_000, "only {requests} requests");
}

/// The rings above run on this table: it does what is done here.
#[tokio::test]
async fn the_table_in_memory_does_the_same() {
    let names = Names::new(2, &[&[1], &[]]);
    let leases = MemoryLeaseTable::new("leases");
    leases.prepare().await.unwrap();
    let rows = small_rows();
    for (row, known) in rows.iter().flat_map(|row| rows.iter().step_by(3).map(move |known| (row, known))) {
        for kind in KINDS {
            let write = Write { by: 1, lease: 0, kind, known: *known };
            let Some(update) = table::update(&names, &write) else { continue };
            leases.delete(&names.keys[0]).await.unwrap();
            leases.create(&names.lease(0, row)).await.unwrap();
            let claim = leases.update(&update).await.unwrap();
            let expected = match table::apply(&names, None, Some(*row), &write).unwrap() {
                Answer::Applied(Some(after)) => Claim::Won(names.lease(0, &after)),
                _ => Claim::Lost(Some(names.lease(0, row))),
            };
            assert_eq!(claim, expected, "{write:?} of {row:?}");
        }
    }
}

/// Walks of a state as it is, counters growing, beside one in the normal form: the same steps are possible all along,
/// and lead to the same states.
#[test]
fn the_normal_form_loses_nothing() {
    let configs = [
        the::ONE_LEASE,
        the::ONE_LEASE_HANDED_OFF,
        the::HANDED_OVER,
        the::FAMILY,
        the::FAMILY_STOLEN,
        the::FAMILY_ENDED,
        the::THREE_FOR_TWO,
        the::STOLEN,
        the::MERGE,
        the::FOUR_LEASES,
        the::FOUR_APART,
        the::THREE_FOR_ONE,
    ];
    for config in configs {
        (0..15).for_each(|seed| walk(config, seed));
    }
}

fn walk(config: Config, seed: u64) {
    let stage = Stage::new(config);
    let mut rng = Rng::seeded(seed);
    let mut normal = stage.first().unwrap();
    let prelude = config.prelude.iter();
    let mut plain =
        prelude.fold(World::first(&config), |world, step| take_step(&stage, &world, *step).expect("a good prelude"));
    for number in 0..100 {
        let steps = step::next(&stage, &normal).unwrap();
        assert_eq!(steps, step::next(&stage, &plain).unwrap(), "{}, seed {seed}, step {number}", config.name);
        let step = steps[rng.below(steps.len())];
        plain = take_step(&stage, &plain, step).unwrap_or_else(|violation| panic!("{step}: {violation}"));
        normal = take_step(&stage, &normal, step).unwrap_or_else(|violation| panic!("{step}: {violation}"));
        normal.normalise(&config);
        let mut same = plain;
        same.normalise(&config);
        assert_eq!(key(&same, &config), key(&normal, &config), "{}, seed {seed}, {step}", config.name);
    }
}
