//! Every interleaving of two or three workers, one to four leases and the operations of the lease table, against a
//! small model. Where the simulations draw some histories, this walks all of them, up to a depth.
//!
//! The workers are small and pure. What they send is made by the library's own transitions ([`kinetide::lease`]), what
//! they decide by its own plans ([`kinetide::assignment`], [`kinetide::coordinator::cleanup`]); only the order in which
//! they go about it is written anew, a request a step. Steps of several workers fall between each other in every way,
//! beside lost answers, requests that arrive late, crashes, passing time and rows deleted by hand.
//!
//! | File | Its job |
//! |---|---|
//! | [`config`], [`configurations`] | what is explored, how deep; the configurations |
//! | [`rows`], [`world`], [`normal`], [`key`] | rows, states, their normal form, and that as a key |
//! | [`step`], [`worker`], [`table`] | what may happen; what it does, to workers and to rows |
//! | [`looking`], [`recall`], [`stage`] | what a look at the table leads to |
//! | [`model`] | what each request and each look must do, from the specification |
//! | [`invariants`] | what must hold of writes, answers and states |
//! | [`explore`], [`fair`] | every path, shortest first; liveness from the states on them |
//! | [`transitions`] | what all this rests on |
//! | [`broken`] | that it can fail |
//!
//! Depth counts steps after a configuration's prelude. Within it the walk is complete: a state that is reached again,
//! in its normal form, need not be walked from again. Time passes in ticks of a little more than half a failover time,
//! for all workers alike: a lease outlives one without a renewal, and not two.
//!
//! Not here: listings that are not of one moment, workers that share a name, a Java worker in the fleet (but for
//! hand-offs that its leader offers), the filling of holes, and leases made anew after their stream was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod config;
mod configurations;
mod explore;
mod fair;
mod invariants;
mod key;
mod looking;
mod model;
mod normal;
mod recall;
mod rows;
mod stage;
mod step;
mod table;
mod transitions;
mod worker;
mod world;

use config::Config;
use configurations as the;
use explore::explore;

fn holds(config: Config) {
    let report = explore(config).unwrap_or_else(|trail| panic!("{trail}"));
    println!("{}: {report}", config.name);
    let is_small = report.states < config.states_min || report.transitions < config.transitions_min;
    assert!(!is_small, "{} has shrunk: {report}", config.name);
}

#[test]
fn one_lease_that_nothing_happens_to() {
    holds(the::PLAIN);
}

#[test]
fn one_lease_given_back_and_deleted() {
    holds(the::ONE_LEASE);
}

#[test]
fn one_lease_handed_off() {
    holds(the::ONE_LEASE_HANDED_OFF);
}

#[test]
fn three_workers_and_one_lease() {
    holds(the::THREE_FOR_ONE);
}

#[test]
fn two_leases_taken_away() {
    holds(the::STOLEN);
}

#[test]
fn two_leases_handed_over() {
    holds(the::HANDED_OVER);
}

#[test]
fn a_parent_and_its_child() {
    holds(the::FAMILY);
}

#[test]
fn the_end_of_a_parent_that_was_taken_away() {
    holds(the::FAMILY_STOLEN);
}

#[test]
fn the_end_of_a_parent_that_was_asked_for() {
    holds(the::FAMILY_ASKED_FOR);
}

#[test]
fn the_deletion_of_a_finished_parent() {
    holds(the::FAMILY_ENDED);
}

#[test]
fn three_workers_and_two_leases() {
    holds(the::THREE_FOR_TWO);
}

#[test]
fn four_leases_and_a_split() {
    holds(the::FOUR_LEASES);
}

#[test]
fn four_leases_apart() {
    holds(the::FOUR_APART);
}

#[test]
fn a_merge() {
    holds(the::MERGE);
}
