//! A few fleets on every commit, and seeds that once found something.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use kinetide_sim::plan::{Plan, Sabotage};
use kinetide_sim::run::{run, run_plan};
use kinetide_sim::scenario::Scenario;

/// Seeds that once failed, and what they found.
const KEPT: [(u64, Scenario); 3] = [
    // A finished lease was deleted while an earlier holder had not met it; that one wrote it again, unfinished.
    (2493, Scenario::Chaos),
    // An owner that died with a finished lease was elected for ever: nothing was cleaned up.
    (5079, Scenario::Chaos),
    (10203, Scenario::Chaos),
];

fn passes(seed: u64, scenario: Option<Scenario>) {
    let outcome = run(seed, scenario).unwrap();
    let found: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "seed {seed} of {}: {found:#?}", outcome.plan.scenario.name());
}

#[test]
fn three_seeds_of_every_scenario_pass() {
    for scenario in Scenario::ALL {
        (0..3).for_each(|seed| passes(seed, Some(scenario)));
    }
}

#[test]
fn kept_seeds_pass() {
    for (seed, scenario) in KEPT {
        passes(seed, Some(scenario));
    }
}

/// Whole runs over a service that breaks its promises are caught, by the rules one would expect.
#[test]
fn what_is_broken_on_purpose_is_found() {
    let cases = [
        (Sabotage::Unconditional, Scenario::Crashes, ["checkpoints", "owners"]),
        (Sabotage::LosesRecords, Scenario::Steady, ["liveness", "skips"]),
        (Sabotage::RepeatsRecords, Scenario::Steady, ["duplicates", "order"]),
    ];
    for (sabotage, scenario, rules) in cases {
        let mut found = BTreeSet::new();
        for seed in 0..3 {
            let plan = Plan { sabotage: Some(sabotage), ..Plan::draw(seed, Some(scenario)) };
            found.extend(run_plan(plan).unwrap().violations.iter().map(|violation| violation.rule));
        }
        assert!(rules.iter().all(|rule| found.contains(rule)), "{sabotage:?} was found by {found:?}");
    }
}
