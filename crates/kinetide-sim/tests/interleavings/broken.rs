//! The ring can fail: workers that break a rule on purpose are caught, each by the promise one would expect. But for
//! one that has no consequences, the model is silent here: what is found is what the fault leads to.

use super::config::{Broken, Budget, Config};
use super::configurations as the;
use super::explore::{Trail, explore};
use super::invariants::Rule;

/// Explores with this fault, and requires that it breaks this promise; returns the way there.
fn catch(broken: Broken, rule: Rule, config: Config) -> Box<Trail> {
    // Without fair runs, the first violation is at the end of a shortest path.
    let fair_every = usize::from(rule == Rule::Liveness);
    let trail = match explore(Config { broken: Some(broken), fair_every, ..config }) {
        Ok(report) => panic!("{broken:?} is not caught: {report:?}"),
        Err(trail) => trail,
    };
    println!("{broken:?}, caught after {} steps:\n{trail}\n", trail.length);
    assert_eq!(trail.violation.rule, rule, "{broken:?} leads to something else:\n{trail}");
    assert!(trail.is_retold || rule == Rule::Liveness, "{broken:?} is caught in the normal form only:\n{trail}");
    trail
}

/// Two workers that take leases from each other, with nothing else going wrong.
const QUIET: Config = Config { budget: Budget { answers_lost: 0, crashes: 0, ..the::STOLEN.budget }, ..the::STOLEN };

#[test]
fn a_renewal_without_the_counter_is_caught() {
    catch(Broken::RenewsUnconditionally, Rule::Owner, QUIET);
}

#[test]
fn a_checkpoint_without_the_counter_is_caught() {
    catch(Broken::CheckpointsUnconditionally, Rule::Owner, QUIET);
}

#[test]
fn a_take_without_the_counter_is_caught() {
    catch(Broken::TakesUnconditionally, Rule::Overlap, QUIET);
}

#[test]
fn a_take_that_does_not_move_the_counter_is_caught() {
    catch(Broken::TakesWithoutCounter, Rule::Counter, QUIET);
}

#[test]
fn giving_back_what_another_owns_is_caught() {
    let budget = Budget { releases: 1, ..QUIET.budget };
    catch(Broken::ReleasesUnconditionally, Rule::Owner, Config { budget, ..QUIET });
}

#[test]
fn taking_any_row_of_ones_name_for_ones_own_is_caught() {
    let budget = Budget { hand_offs: 1, ..QUIET.budget };
    catch(Broken::AdoptsByName, Rule::Recognition, Config { budget, ..QUIET });
}

#[test]
fn not_knowing_ones_own_write_is_caught() {
    catch(Broken::NeverAdopts, Rule::Recognition, the::ONE_LEASE);
}

#[test]
fn not_noticing_a_request_is_caught() {
    catch(Broken::IgnoresRequests, Rule::Recognition, the::HANDED_OVER);
}

#[test]
fn holding_a_lease_beyond_its_time_is_caught() {
    catch(Broken::NeverLapses, Rule::Overlap, the::ONE_LEASE);
}

#[test]
fn deleting_what_a_former_holder_has_not_met_is_caught() {
    catch(Broken::DeletesUnsettled, Rule::Deletion, the::FAMILY_STOLEN);
}

#[test]
fn taking_what_ended_while_it_was_asked_for_is_caught() {
    catch(Broken::TakesFinished, Rule::Owner, the::FAMILY_ASKED_FOR);
}

#[test]
fn ending_a_shard_before_its_children_have_leases_is_caught() {
    catch(Broken::EndsBeforeChildren, Rule::Family, the::FAMILY);
}

#[test]
fn reading_a_child_before_its_parent_is_done_is_caught() {
    catch(Broken::ReadsChildrenFirst, Rule::Family, the::FAMILY);
}

#[test]
fn restoring_a_row_from_the_start_is_caught() {
    catch(Broken::RestoresFromStart, Rule::Checkpoint, the::ONE_LEASE);
}

#[test]
fn a_prepared_checkpoint_that_moves_the_checkpoint_is_caught() {
    catch(Broken::LowersOnPrepare, Rule::Checkpoint, Config { checkpoint_max: 2, ..the::ONE_LEASE_HANDED_OFF });
}

#[test]
fn leaving_the_old_owner_of_a_hand_off_behind_is_caught() {
    catch(Broken::LeavesCheckpointOwner, Rule::Owner, the::ONE_LEASE_HANDED_OFF);
}

#[test]
fn leaving_the_leases_of_the_dead_to_them_is_caught() {
    catch(Broken::NeverTakesExpired, Rule::Liveness, the::ONE_LEASE);
}

#[test]
fn a_change_of_owner_that_is_not_counted_is_caught() {
    catch(Broken::ForgetsSwitches, Rule::Model, QUIET);
}

/// Not a fault of a worker but a limit of the protocol, and known: a row leaves nothing behind when a hand deletes it.
/// A holder that has lost it and has not met that yet writes it again as it was. (What workers delete themselves has
/// stood still for so long that there is no such holder; see `DeletesUnsettled` above.) If this test fails, the limit
/// is gone: then let the explorations delete rows at any time.
#[test]
fn a_row_deleted_by_hand_under_a_former_holder_is_not_safe() {
    let budget = Budget { deletions: 1, ..QUIET.budget };
    let trail = explore(Config { is_any_row_deleted: true, budget, ..QUIET }).expect_err("the limit is gone");
    println!("{trail}");
    assert!(matches!(trail.violation.rule, Rule::Overlap | Rule::Checkpoint), "{trail}");
}
