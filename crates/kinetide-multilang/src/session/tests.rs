use proptest::prelude::*;

use super::*;
use crate::message::Action;

const STATUS: &str = r#"{"action":"status","responseFor":"processRecords"}"#;
const CHECKPOINT: &str = r#"{"action":"checkpoint","sequenceNumber":"7"}"#;

fn message(action: ActionName) -> Vec<u8> {
    action.as_str().as_bytes().to_vec()
}

fn calling(action: ActionName) -> Session {
    let mut session = Session::with("the child");
    assert_eq!(session.on(Input::Call(action, message(action))), Some(Output::Write(message(action))));
    session
}

fn line(session: &mut Session, text: &str) -> Option<Output> {
    assert!(session.wants_line());
    session.on(Input::Line(text.as_bytes()))
}

fn replied(error: &str) -> Option<Output> {
    let reply = format!(
        "{{\"action\":\"checkpoint\",\"sequenceNumber\":\"7\",\"subSequenceNumber\":null,\"error\":{error}}}\n"
    );
    Some(Output::Write(reply.into_bytes()))
}

const OK: Option<Output> = Some(Output::Finished(Ok(())));

fn failed(fault: Fault) -> Option<Output> {
    Some(Output::Finished(Err(fault)))
}

#[test]
fn a_call_ends_with_its_status() {
    let mut session = calling(ActionName::ProcessRecords);
    assert_eq!(session.on(Input::Written), None);
    assert_eq!(line(&mut session, STATUS), OK);
    assert!(session.is_idle());
}

#[test]
fn a_status_may_come_before_the_message_is_written() {
    let mut session = calling(ActionName::ProcessRecords);
    assert_eq!(line(&mut session, STATUS), None);
    assert!(!session.wants_line());
    assert_eq!(session.on(Input::Written), OK);
}

#[test]
fn a_status_without_a_write_is_no_success() {
    let mut session = calling(ActionName::ProcessRecords);
    assert_eq!(line(&mut session, STATUS), None);
    let fault = Fault::WriteFailed("broken pipe".to_owned());
    assert_eq!(session.on(Input::WriteFailed("broken pipe".to_owned())), failed(fault));
}

#[test]
fn checkpoints_come_in_between() {
    let mut session = calling(ActionName::ProcessRecords);
    session.on(Input::Written);
    for (result, error) in [(Ok(()), "null"), (Err(CheckpointErrorKind::Throttled), "\"ThrottlingException\"")] {
        let request = CheckpointRequest { sequence_number: Some("7".to_owned()), sub_sequence_number: None };
        assert_eq!(line(&mut session, CHECKPOINT), Some(Output::Checkpoint(request)));
        assert!(!session.wants_line());
        assert_eq!(session.on(Input::Checkpointed(result)), replied(error));
        assert!(!session.wants_line(), "the reply is the next thing");
        assert_eq!(session.on(Input::Written), None);
    }
    assert_eq!(line(&mut session, STATUS), OK);
}

#[test]
fn a_reply_waits_for_the_message_before_it() {
    let mut session = calling(ActionName::ProcessRecords);
    line(&mut session, CHECKPOINT);
    session.on(Input::Checkpointed(Ok(())));
    assert_eq!(session.on(Input::Written), None);
    assert!(!session.wants_line());
    assert_eq!(session.on(Input::Written), None);
    assert!(session.wants_line());
}

#[test]
fn no_checkpoint_in_initialize_and_lease_lost() {
    for action in [ActionName::Initialize, ActionName::LeaseLost] {
        let mut session = calling(action);
        session.on(Input::Written);
        assert_eq!(line(&mut session, CHECKPOINT), replied("\"InvalidStateException\""), "{action}");
        session.on(Input::Written);
        assert_eq!(line(&mut session, &format!(r#"{{"action":"status","responseFor":"{action}"}}"#)), OK);
    }
}

#[test]
fn every_phase_may_or_may_not_checkpoint() {
    let allowed = [ActionName::ProcessRecords, ActionName::ShardEnded, ActionName::ShutdownRequested];
    for action in allowed {
        assert!(matches!(line(&mut calling(action), CHECKPOINT), Some(Output::Checkpoint(_))), "{action}");
    }
}

#[test]
fn noise_does_no_harm() {
    let mut session = calling(ActionName::ProcessRecords);
    session.on(Input::Written);
    for noise in ["", " ", "starting up", "null", "{}", r#"{"action":"leaseLost"}"#] {
        assert_eq!(line(&mut session, noise), None, "{noise}");
    }
    assert_eq!(line(&mut session, STATUS), OK);
}

#[test]
fn a_wrong_status_breaks() {
    for (answer, name) in [
        (r#"{"action":"status"}"#, None),
        (r#"{"action":"status","responseFor":"initialize"}"#, Some("initialize")),
        (r#"{"action":"status","responseFor":"ProcessRecords"}"#, Some("ProcessRecords")),
    ] {
        let mut session = calling(ActionName::ProcessRecords);
        assert_eq!(line(&mut session, answer), failed(Fault::WrongStatus(name.map(str::to_owned))));
        assert_eq!(session.on(Input::Call(ActionName::LeaseLost, Vec::new())), failed(Fault::Broken));
    }
}

#[test]
fn the_end_of_output_breaks() {
    assert_eq!(calling(ActionName::Initialize).on(Input::OutputEnded(None)), failed(Fault::OutputEnded));
    let unreadable = Input::OutputEnded(Some("io".to_owned()));
    assert_eq!(calling(ActionName::Initialize).on(unreadable), failed(Fault::ReadFailed("io".to_owned())));
    assert_eq!(calling(ActionName::Initialize).on(Input::TimedOut), failed(Fault::TimedOut));
    let mut between = Session::with("the child");
    assert_eq!(between.on(Input::OutputEnded(None)), None);
    assert_eq!(between.on(Input::Call(ActionName::LeaseLost, Vec::new())), failed(Fault::Broken));
}

#[test]
fn the_time_limit_starts_again_with_every_exchange() {
    let mut session = calling(ActionName::ProcessRecords);
    session.on(Input::Written);
    let first = session.waits();
    line(&mut session, "noise");
    assert_eq!(session.waits(), first, "noise is no sign of life");
    line(&mut session, CHECKPOINT);
    session.on(Input::Checkpointed(Ok(())));
    session.on(Input::Written);
    assert_eq!(session.waits(), first + 1);
}

#[test]
fn errors_have_their_java_names() {
    use CheckpointErrorKind::{Dependency, InvalidState, LeaseLost, OutOfRange, Throttled};
    let named = [Throttled, LeaseLost, InvalidState, Dependency, OutOfRange].map(exception_name);
    let names = [
        "ThrottlingException",
        "ShutdownException",
        "InvalidStateException",
        "KinesisClientLibDependencyException",
        "IllegalArgumentException",
    ];
    assert_eq!(named, names);
}

/// What a child and its pipes may do, in any order.
#[derive(Debug, Clone)]
enum Event {
    Line(&'static str),
    Written,
    Ended,
    WriteFailed,
    TimedOut,
    Checkpointed(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop::sample::select(vec![STATUS, CHECKPOINT, "noise", "", r#"{"action":"status"}"#]).prop_map(Event::Line),
        4 => Just(Event::Written),
        1 => prop_oneof![Just(Event::Ended), Just(Event::WriteFailed), Just(Event::TimedOut)],
        3 => any::<bool>().prop_map(Event::Checkpointed),
    ]
}

proptest! {
    #[test]
    fn calls_finish_once_and_replies_follow_requests(events in prop::collection::vec(event(), 0..60)) {
        let mut session = Session::with("the child");
        let (mut under_way, mut unwritten, mut owes_reply, mut broken) = (false, 0usize, false, false);
        for event in events {
            if !under_way {
                let mut message = Vec::new();
                Action::ProcessRecords { records: &[], millis_behind_latest: None }.encode(&mut message);
                match session.on(Input::Call(ActionName::ProcessRecords, message)) {
                    Some(Output::Write(_)) => { prop_assert!(!broken); under_way = true; unwritten = 1; }
                    other => { prop_assert!(broken); prop_assert_eq!(other, failed(Fault::Broken)); break; }
                }
            }
            // A driver gives what can happen, nothing else.
            let input = match event {
                Event::Line(text) if session.wants_line() => Input::Line(text.as_bytes()),
                Event::Written if unwritten > 0 => { unwritten -= 1; Input::Written }
                Event::Ended => Input::OutputEnded(None),
                Event::WriteFailed if unwritten > 0 => Input::WriteFailed(String::new()),
                Event::TimedOut if session.wants_line() => Input::TimedOut,
                Event::Checkpointed(ok) if owes_reply => {
                    Input::Checkpointed(if ok { Ok(()) } else { Err(CheckpointErrorKind::Throttled) })
                }
                _ => continue,
            };
            match session.on(input) {
                Some(Output::Checkpoint(_)) => { prop_assert!(!owes_reply); owes_reply = true; }
                Some(Output::Write(reply)) => {
                    let is_reply = reply.starts_with(b"{\"action\":\"checkpoint\"");
                    prop_assert!(owes_reply && is_reply);
                    owes_reply = false;
                    unwritten += 1;
                }
                Some(Output::Finished(result)) => {
                    prop_assert!(under_way);
                    under_way = false;
                    broken = result.is_err();
                    prop_assert!(broken || !owes_reply);
                    owes_reply = false;
                    prop_assert_eq!(session.is_idle(), !broken);
                    prop_assert!(broken || unwritten == 0);
                }
                None => {}
            }
            prop_assert!(unwritten <= 2);
        }
    }
}
