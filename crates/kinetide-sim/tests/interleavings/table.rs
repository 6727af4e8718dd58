//! Applies a request to its row: with the library's transition, as every lease table does, and held against the model.

use kinetide::lease::{Change, Lease, LeaseUpdate, Require};

use super::config::Broken;
use super::invariants::{Rule, Violation};
use super::model::{self, Answer, Kind, Write};
use super::rows::{Names, Row, checkpoint, pending};

/// What a request does to its row by the library's own code.
///
/// # Errors
/// [`Violation`] when the model says otherwise. A worker that is broken on purpose is not held against the model: what
/// it does must be found by its consequences.
pub(crate) fn apply(
    names: &Names,
    broken: Option<Broken>,
    row: Option<Row>,
    write: &Write,
) -> Result<Answer<Row>, Violation> {
    let lease = usize::from(write.lease);
    let expected = model::answer(row, write);
    let real = real(names, broken, row, write);
    let is_equal = match (&real, &expected) {
        (Answer::Applied(Some(real)), Answer::Applied(Some(expected))) => *real == names.lease(lease, expected),
        (Answer::Applied(None), Answer::Applied(None)) | (Answer::Refused, Answer::Refused) => true,
        _ => false,
    };
    if is_equal {
        return Ok(expected);
    }
    let is_judged = broken.is_none_or(Broken::is_for_the_model);
    match &real {
        Answer::Refused if !is_judged => return Ok(Answer::Refused),
        Answer::Applied(Some(real)) if !is_judged => {
            if let Some(row) = names.row(lease, real) {
                return Ok(Answer::Applied(Some(row)));
            }
        }
        _ => {}
    }
    Err(Violation::new(Rule::Model, format!("the library says {real:?}, the model {expected:?}")))
}

fn real(names: &Names, broken: Option<Broken>, row: Option<Row>, write: &Write) -> Answer<Lease> {
    let row = row.map(|row| names.lease(usize::from(write.lease), &row));
    let after = match (write.kind, update(names, write)) {
        (Kind::Delete, _) => return Answer::Applied(None),
        (_, None) => row.is_none().then(|| created(names, write)),
        (_, Some(mut update)) => {
            if let Some(broken) = broken {
                spoil(&mut update, broken);
            }
            // As `MemoryLeaseTable` does it; DynamoDB is shown to do the same by the conformance suite.
            let row = row.filter(|row| row.satisfies(&update.require));
            row.map(|row| row.with_changes(&update.changes))
        }
    };
    after.map_or(Answer::Refused, |row| Answer::Applied(Some(row)))
}

/// A child's first row, or the row its owner knew and found deleted.
fn created(names: &Names, write: &Write) -> Lease {
    let lease = usize::from(write.lease);
    if write.known != Row::default() {
        return names.lease(lease, &write.known);
    }
    // Of its parent's key only the stream is used, and there is one.
    Lease::of_child(&names.keys[lease], &names.child(lease))
}

/// `None`: it is no update, but adds or removes the row.
pub(crate) fn update(names: &Names, write: &Write) -> Option<LeaseUpdate> {
    let (known, by) = (names.lease(usize::from(write.lease), &write.known), &names.workers[usize::from(write.by)]);
    Some(match write.kind {
        Kind::Take => known.take(by),
        Kind::Renew => known.renew(),
        Kind::Checkpoint(number) => known.checkpoint(checkpoint(number)),
        Kind::Prepare(number) => known.prepare(pending(number)),
        Kind::Release => known.release(),
        Kind::ReleaseAbandoned => known.release_abandoned(),
        Kind::NameChildren => known.name_children(names.children(usize::from(write.lease))),
        Kind::Ask => known.request_hand_off(by),
        Kind::Withdraw => known.withdraw_hand_off(),
        Kind::Forget => known.forget_hand_off(),
        Kind::Create | Kind::Delete => return None,
    })
}

/// Requests as a broken worker would send them.
fn spoil(update: &mut LeaseUpdate, broken: Broken) {
    match (broken, update.operation) {
        (Broken::RenewsUnconditionally, "renew")
        | (Broken::CheckpointsUnconditionally, "checkpoint")
        | (Broken::TakesUnconditionally, "take")
        | (Broken::ReleasesUnconditionally, "release") => update.require = vec![Require::Exists],
        (Broken::TakesWithoutCounter, "take") => {
            update.changes.retain(|change| !matches!(change, Change::Counter(_)));
        }
        (Broken::LeavesCheckpointOwner, "take") => {
            update.changes.retain(|change| *change != Change::ClearCheckpointOwner);
        }
        (Broken::ForgetsSwitches, "take") => update.changes.retain(|change| *change != Change::AddOwnerSwitch),
        (Broken::LowersOnPrepare, "prepare") => {
            update.changes.retain(|change| !matches!(change, Change::Checkpoint(_)));
            update.changes.push(Change::Checkpoint(checkpoint(super::rows::START)));
        }
        _ => {}
    }
}
