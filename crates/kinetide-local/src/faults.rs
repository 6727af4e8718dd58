//! Faults as data: observe, answer, delay, fail or drop any request. For tests.
//!
//! A [`Rule`] says which requests it touches, how often, and what happens to them. Rules can be added and removed while
//! the endpoint runs. This module decides; `server` carries the decision out, because only it can close a connection.
//! Invariants: with the same rules, seeds and order of requests the same requests are touched; an action named *after*
//! leaves the effect in place; counters count every recognised request, disturbed or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Names counted at most; a client that invents operation names cannot grow the map.
const OPERATIONS_MAX: usize = 512;

/// Which of the emulated services a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Kinesis Data Streams.
    Kinesis,
    /// DynamoDB and its streams.
    DynamoDb,
    /// CloudWatch metrics.
    CloudWatch,
    /// Security Token Service.
    Sts,
}

/// An error as AWS answers it, in whatever protocol the request came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// HTTP status.
    pub status: u16,
    /// Name of the exception, for example `ProvisionedThroughputExceededException`.
    pub code: String,
    /// What the client shows.
    pub message: String,
}

impl AwsError {
    /// An error with any status.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// Throttled for throughput, as Kinesis and DynamoDB both say it.
    pub fn throttled() -> Self {
        Self::new(400, "ProvisionedThroughputExceededException", "Rate exceeded (injected fault)")
    }

    /// A failure on the service's side, which clients repeat.
    pub fn internal() -> Self {
        Self::new(500, "InternalFailure", "internal failure (injected fault)")
    }
}

/// A whole answer that replaces the service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type; it should match what the client asked in.
    pub content_type: String,
    /// The body, sent as it is.
    pub body: Vec<u8>,
}

/// What happens to a request that a rule touches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Wait, then go on with the following rules.
    Delay(Duration),
    /// Answer an error; nothing has happened.
    FailBefore(AwsError),
    /// Let it happen, then answer an error: the caller cannot know.
    FailAfter(AwsError),
    /// Close the connection without an answer; nothing has happened.
    DropBefore,
    /// Let it happen, then close the connection without an answer.
    DropAfter,
    /// Answer this instead; nothing has happened.
    Answer(Answer),
}

/// How many of the matching requests a rule touches.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Times {
    /// The first one.
    Once,
    /// The first n.
    N(u32),
    /// All.
    Always,
    /// Each with this probability, drawn from a generator of the rule's own.
    Probability {
        /// 0 to 1.
        p: f64,
        /// Same seed, same draws.
        seed: u64,
    },
}

/// Which requests, how often, and what happens to them. `None` matches everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Only requests to this service.
    pub service: Option<Service>,
    /// Only this operation, for example `GetRecords`.
    pub operation: Option<String>,
    /// Only requests whose body, as sent, contains this text.
    pub body_contains: Option<String>,
    /// How many of them.
    pub times: Times,
    /// What happens.
    pub action: Action,
}

impl Rule {
    /// A rule for every call of one operation; narrow it with the other methods.
    pub fn on(operation: impl Into<String>, action: Action) -> Self {
        Self { service: None, operation: Some(operation.into()), body_contains: None, times: Times::Always, action }
    }

    /// A rule for every call of one service.
    pub fn on_service(service: Service, action: Action) -> Self {
        Self { service: Some(service), operation: None, body_contains: None, times: Times::Always, action }
    }

    /// Only so many of them.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Only the first.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(Times::Once)
    }

    /// Only requests whose body contains this text.
    #[must_use]
    pub fn body_contains(mut self, text: impl Into<String>) -> Self {
        self.body_contains = Some(text.into());
        self
    }

    fn matches(&self, service: Service, operation: &str, body: &[u8]) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
            && self.operation.as_ref().is_none_or(|wanted| wanted == operation)
            && self.body_contains.as_ref().is_none_or(|text| contains(body, text.as_bytes()))
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// Names a rule, to remove it or to ask how often it struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// The rules of an endpoint and its request counters. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    rules: BTreeMap<RuleId, Armed>,
    counts: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    hits: u64,
    draws: fastrand::Rng,
}

impl Armed {
    #[allow(clippy::disallowed_methods, reason = "the seed is part of the rule: this is where it enters")]
    fn new(rule: Rule) -> Self {
        let seed = if let Times::Probability { seed, .. } = rule.times { seed } else { 0 };
        Self { rule, hits: 0, draws: fastrand::Rng::with_seed(seed) }
    }

    fn strikes(&mut self) -> bool {
        let strikes = match self.rule.times {
            Times::Once => self.hits == 0,
            Times::N(limit) => self.hits < u64::from(limit),
            Times::Always => true,
            Times::Probability { p, .. } => self.draws.f64() < p,
        };
        self.hits += u64::from(strikes);
        strikes
    }
}

/// What the endpoint does with one request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) action: Option<Action>,
}

impl Faults {
    /// Adds a rule after those already there. Delays add up; the first other action that strikes decides.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut shared = self.lock();
        let id = RuleId(shared.next);
        shared.next += 1;
        shared.rules.insert(id, Armed::new(rule));
        id
    }

    /// Removes a rule; `false` if it was gone already.
    pub fn remove(&self, id: RuleId) -> bool {
        self.lock().rules.remove(&id).is_some()
    }

    /// Removes all rules. Counters stay.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How many requests a rule has touched; 0 once it is removed.
    pub fn hits(&self, id: RuleId) -> u64 {
        self.lock().rules.get(&id).map_or(0, |armed| armed.hits)
    }

    /// How many requests for an operation have arrived, touched or not.
    pub fn count(&self, operation: &str) -> u64 {
        self.lock().counts.get(operation).copied().unwrap_or(0)
    }

    /// All counters.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    pub(crate) fn judge(&self, service: Service, operation: &str, body: &[u8]) -> Verdict {
        let mut shared = self.lock();
        shared.observe(operation);
        let mut verdict = Verdict::default();
        for armed in shared.rules.values_mut() {
            if !armed.rule.matches(service, operation, body) || !armed.strikes() {
                continue;
            }
            match &armed.rule.action {
                Action::Delay(span) => verdict.delay += *span,
                action => {
                    verdict.action = Some(action.clone());
                    break;
                }
            }
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn observe(&mut self, operation: &str) {
        if let Some(count) = self.counts.get_mut(operation) {
            *count += 1;
        } else if self.counts.len() < OPERATIONS_MAX {
            self.counts.insert(operation.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(faults: &Faults, operation: &str) -> bool {
        faults.judge(Service::Kinesis, operation, b"{\"a\":1}").action.is_some()
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says() {
        let faults = Faults::default();
        let id = faults.add(Rule::on("GetRecords", Action::DropBefore).times(Times::N(2)));
        let strikes: Vec<bool> = (0..4).map(|_| struck(&faults, "GetRecords")).collect();
        assert_eq!(strikes, [true, true, false, false]);
        assert!(!struck(&faults, "PutRecord"));
        assert_eq!((faults.hits(id), faults.count("GetRecords"), faults.count("PutRecord")), (2, 4, 1));
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn delays_add_up_and_the_first_other_action_decides() {
        let faults = Faults::default();
        faults.add(Rule::on("GetRecords", Action::Delay(Duration::from_millis(2))));
        faults.add(Rule::on("GetRecords", Action::Delay(Duration::from_millis(3))).once());
        faults.add(Rule::on_service(Service::Kinesis, Action::DropAfter).body_contains("\"a\""));
        faults.add(Rule::on("GetRecords", Action::DropBefore));
        let verdict = faults.judge(Service::Kinesis, "GetRecords", b"{\"a\":1}");
        assert_eq!((verdict.delay, verdict.action), (Duration::from_millis(5), Some(Action::DropAfter)));
    }

    #[test]
    fn the_same_seed_draws_the_same_strikes() {
        let run = || {
            let faults = Faults::default();
            faults.add(Rule::on("GetRecords", Action::DropBefore).times(Times::Probability { p: 0.5, seed: 7 }));
            (0..64).map(|_| struck(&faults, "GetRecords")).collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        assert!(first.contains(&true) && first.contains(&false));
    }
}
