//! The configurations that are explored on every commit.
//!
//! Each is a piece of a fleet's life with the faults that matter there. Depths are what a minute allows in an
//! unoptimised build; a space that is small enough is walked to its end. Rare events are rationed, or the spaces would
//! not be finite.

use super::config::{Budget, Config};
use super::step::{Act, Fate, Step};

/// Deep enough for any space that has an end.
const TO_THE_END: usize = 200;

const NOTHING: Budget = Budget { answers_lost: 0, crashes: 0, deletions: 0, hand_offs: 0, releases: 0 };
const LOST_AND_CRASHED: Budget = Budget { answers_lost: 1, crashes: 1, ..NOTHING };

/// What the others are made from.
pub(crate) const PLAIN: Config = Config {
    name: "two workers, one lease, no faults",
    workers: 2,
    children: &[&[]],
    checkpoint_max: 1,
    has_prepares: false,
    has_cleanup: false,
    has_priority: false,
    is_graceful: false,
    is_any_row_deleted: false,
    budget: NOTHING,
    prelude: &[],
    depth: TO_THE_END,
    states_min: 690,
    transitions_min: 2_800,
    fair_every: 1,
    broken: None,
};

/// A lease that changes hands in every way but a hand-off, and whose row is deleted.
pub(crate) const ONE_LEASE: Config = Config {
    name: "two workers, one lease, its row deleted",
    budget: Budget { deletions: 1, releases: 1, ..LOST_AND_CRASHED },
    fair_every: 10,
    states_min: 160_000,
    transitions_min: 1_000_000,
    ..PLAIN
};

/// The leader of a 3.x fleet hands it off; prepared checkpoints besides.
pub(crate) const ONE_LEASE_HANDED_OFF: Config = Config {
    name: "two workers, one lease, handed off",
    has_prepares: true,
    is_graceful: true,
    budget: Budget { hand_offs: 1, answers_lost: 1, ..NOTHING },
    fair_every: 10,
    states_min: 175_000,
    transitions_min: 1_050_000,
    ..PLAIN
};

pub(crate) const THREE_FOR_ONE: Config = Config {
    name: "three workers, one lease",
    workers: 3,
    budget: LOST_AND_CRASHED,
    fair_every: 10,
    states_min: 94_000,
    transitions_min: 720_000,
    ..PLAIN
};

/// Two leases move between two workers: taken away from a living worker.
pub(crate) const STOLEN: Config = Config {
    name: "two workers, two leases, taken away",
    children: &[&[], &[]],
    budget: LOST_AND_CRASHED,
    depth: 9,
    fair_every: 50,
    states_min: 240_000,
    transitions_min: 960_000,
    ..PLAIN
};

/// Two leases move between two workers: asked for and handed over.
pub(crate) const HANDED_OVER: Config = Config {
    name: "two workers, two leases, handed over",
    is_graceful: true,
    has_priority: true,
    states_min: 355_000,
    transitions_min: 1_300_000,
    ..STOLEN
};

/// A shard ends: its child is created, named, read, and the parent's lease deleted.
pub(crate) const FAMILY: Config = Config {
    name: "two workers, a parent and its child",
    children: &[&[1], &[]],
    has_cleanup: true,
    has_priority: true,
    is_graceful: true,
    depth: 9,
    states_min: 170_000,
    transitions_min: 620_000,
    ..STOLEN
};

const A: usize = 0;
const B: usize = 1;

const fn does(by: usize, act: Act, lease: usize) -> Step {
    Step::Act { by, lease, act, fate: Fate::Answered }
}

const fn looks(by: usize) -> Step {
    Step::Look { by, choice: 0 }
}

/// The same, from where worker b has taken the parent from worker a, which does not know it yet, and is about to end
/// it.
pub(crate) const FAMILY_STOLEN: Config = Config {
    name: "two workers, the end of a parent that was taken away",
    is_graceful: false,
    prelude: &[
        looks(A),
        does(A, Act::Take, 0),
        does(A, Act::CreateChild, 0),
        looks(A),
        does(A, Act::Take, 1),
        looks(B),
        does(B, Act::Take, 0),
        does(B, Act::CreateChild, 0),
        does(B, Act::NameChildren, 0),
    ],
    depth: 7,
    states_min: 84_000,
    transitions_min: 440_000,
    ..FAMILY
};

/// The same, from where worker b has asked worker a for the parent, which does not know it yet, and is about to end it.
pub(crate) const FAMILY_ASKED_FOR: Config = Config {
    name: "two workers, the end of a parent that was asked for",
    prelude: &[
        looks(A),
        does(A, Act::Take, 0),
        does(A, Act::CreateChild, 0),
        looks(A),
        does(A, Act::Take, 1),
        does(A, Act::NameChildren, 0),
        looks(B),
        does(B, Act::Ask, 0),
    ],
    depth: 7,
    states_min: 118_000,
    transitions_min: 415_000,
    ..FAMILY
};

/// The same, from where the parent is finished, its child under way, and two ticks from the deletion of the parent.
pub(crate) const FAMILY_ENDED: Config = Config {
    name: "two workers, the deletion of a finished parent",
    prelude: &[
        looks(A),
        does(A, Act::Take, 0),
        does(A, Act::CreateChild, 0),
        does(A, Act::NameChildren, 0),
        does(A, Act::End, 0),
        looks(B),
        does(B, Act::Take, 1),
        Step::Upkeep { by: A },
        Step::Upkeep { by: B },
        Step::Tick,
        does(B, Act::Checkpoint, 1),
        Step::Tick,
    ],
    depth: 11,
    states_min: 77_000,
    transitions_min: 370_000,
    ..FAMILY
};

pub(crate) const THREE_FOR_TWO: Config = Config {
    name: "three workers, two leases",
    workers: 3,
    depth: 7,
    states_min: 235_000,
    transitions_min: 660_000,
    ..HANDED_OVER
};

/// A split beside a lease that has nothing to do with it.
pub(crate) const FOUR_LEASES: Config = Config {
    name: "two workers, four leases, a split among them",
    children: &[&[1, 2], &[], &[], &[]],
    depth: 7,
    states_min: 141_000,
    transitions_min: 400_000,
    ..FAMILY
};

/// Four leases, each for itself.
pub(crate) const FOUR_APART: Config = Config {
    name: "two workers, four leases apart",
    children: &[&[], &[], &[], &[]],
    budget: Budget { answers_lost: 1, ..NOTHING },
    depth: 6,
    states_min: 117_000,
    transitions_min: 245_000,
    ..HANDED_OVER
};

/// A merge, from where one parent is about to end: each parent's end names the same child.
pub(crate) const MERGE: Config = Config {
    name: "two workers, a merge",
    children: &[&[2], &[2], &[]],
    prelude: &[
        looks(A),
        does(A, Act::Take, 0),
        does(A, Act::Take, 1),
        does(A, Act::CreateChild, 0),
        does(A, Act::NameChildren, 0),
    ],
    depth: 5,
    states_min: 60_000,
    transitions_min: 178_000,
    ..FAMILY
};
