//! SubscribeToShard: records pushed as they arrive.
//!
//! ferrokinesis looks every 200 ms and always reports 0 ms behind. Invariants: a subscription ends after five minutes,
//! with its shard, or when the same consumer subscribes to the shard again; an event follows at least every [`BEAT`],
//! so that a client can tell silence from a dead connection; the last event of a shard that is over names its children.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use ferrokinesis::event_stream::{encode_initial_response, encode_subscribe_event};
use ferrokinesis::types::ConsumerStatus;
use futures::stream;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::encode::{Page, child};
use super::read::{is_over, start};
use super::shard_log::{Batch, Position};
use super::streams::{ShardView, StreamView, Streams, shard_of};
use super::{Kinesis, invalid, not_found};
use crate::clock;
use crate::faults::AwsError;
use crate::wire::{self, Protocol};

const SESSION: Duration = Duration::from_secs(300);
/// Longest silence on a subscription.
const BEAT: Duration = Duration::from_secs(5);
/// How often to look whether the shard has ended: nothing rings when it does.
const LOOK: Duration = Duration::from_millis(200);
/// The service refuses to take over a subscription that is younger.
const TAKEOVER_MIN: Duration = Duration::from_secs(5);
const EVENT_RECORDS_MAX: usize = 10_000;
const EVENT_BYTES_MAX: usize = 2 << 20;

/// The subscriptions in force, by consumer and shard.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    current: Mutex<HashMap<(String, String), Current>>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    over: CancellationToken,
}

impl Subscriptions {
    /// Takes the place of an older subscription, which ends.
    fn take(&self, consumer: &str, shard: &str, closing: &CancellationToken) -> Result<CancellationToken, AwsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::monotonic();
        let key = (consumer.to_owned(), shard.to_owned());
        if let Some(old) = current.get(&key).filter(|old| !old.over.is_cancelled()) {
            if now.duration_since(old.since) < TAKEOVER_MIN {
                let message = format!("Another active subscription exists for this consumer: {consumer} on {shard}");
                return Err(AwsError::new(400, "ResourceInUseException", message));
            }
            old.over.cancel();
        }
        current.retain(|_, subscription| !subscription.over.is_cancelled());
        let over = closing.child_token();
        current.insert(key, Current { since: now, over: over.clone() });
        Ok(over)
    }
}

/// One subscription.
struct Session {
    streams: Arc<Streams>,
    stream: String,
    shard: String,
    account: String,
    protocol: Protocol,
    at: Position,
    ends: Instant,
    beat: Instant,
    phase: Phase,
    /// Cancelled by a successor or the endpoint; cancels itself when the client goes away.
    over: CancellationToken,
}

/// What the next event is.
#[derive(PartialEq)]
enum Phase {
    Greeting,
    Records,
    Over,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Kinesis {
    pub(super) async fn subscribe_to_shard(&self, protocol: Protocol, request: &Json) -> Result<Response, AwsError> {
        let arn = request["ConsumerARN"].as_str().unwrap_or("");
        let stream = self.subscribed_stream(arn).await?;
        let view = self.streams.view(&stream).await?;
        let shard = shard_of(&view, request["ShardId"].as_str().unwrap_or(""), &self.account_id)?;
        let from = &request["StartingPosition"];
        let at =
            start(shard, from["Type"].as_str().unwrap_or(""), from["SequenceNumber"].as_str(), &from["Timestamp"])?;
        let over = self.subscriptions.take(arn, &shard.shard.shard_id, &self.closing)?;
        let now = clock::monotonic();
        let session = Session {
            streams: Arc::clone(&self.streams),
            stream,
            shard: shard.shard.shard_id.clone(),
            account: self.account_id.clone(),
            protocol,
            at,
            ends: now + SESSION,
            // The first event follows at once, so that a client knows where it stands.
            beat: now,
            phase: Phase::Greeting,
            over,
        };
        let events = stream::unfold(session, |mut session| async move {
            let event = session.next().await?;
            Some((Ok::<_, Infallible>(event), session))
        });
        let mut response = wire::answer(protocol, Body::from_stream(events));
        let content_type = header::HeaderValue::from_static("application/vnd.amazon.eventstream");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }

    async fn subscribed_stream(&self, arn: &str) -> Result<String, AwsError> {
        let consumer = self.streams.store.get_consumer(arn).await;
        let consumer = consumer.ok_or_else(|| not_found(&format!("Consumer {arn} not found.")))?;
        if consumer.consumer_status != ConsumerStatus::Active || self.is_registering(arn) {
            return Err(AwsError::new(400, "ResourceInUseException", format!("Consumer {arn} is not ACTIVE.")));
        }
        let stream_arn = arn.split("/consumer/").next().unwrap_or("");
        self.streams.store.stream_name_from_arn(stream_arn).ok_or_else(|| invalid("Invalid ConsumerARN."))
    }
}

impl Session {
    /// The next event, or the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.phase == Phase::Greeting {
            self.phase = Phase::Records;
            return Some(encode_initial_response().into());
        }
        while self.phase == Phase::Records && !self.over.is_cancelled() && clock::monotonic() < self.ends {
            let view = self.streams.view(&self.stream).await.ok()?;
            let shard = shard_of(&view, &self.shard, &self.account).ok()?;
            // Listen before looking, or what arrives in between rings unheard.
            let mut arrived = std::pin::pin!(shard.log.arrived.notified());
            arrived.as_mut().enable();
            if let Some(event) = self.look(&view, shard) {
                return Some(event);
            }
            clock::timeout(LOOK, arrived).await;
        }
        None
    }

    /// An event if there is one to send.
    fn look(&mut self, view: &StreamView, shard: &ShardView) -> Option<Bytes> {
        let batch = shard.log.read(self.at, EVENT_RECORDS_MAX, EVENT_BYTES_MAX);
        if let Some(last) = batch.records.last() {
            self.at = Position::after(last.index);
        } else if is_over(shard, self.at) {
            self.phase = Phase::Over;
            let children: Vec<Json> = view.children(&self.shard).map(child).collect();
            return Some(self.event(view, &batch, json!({ "MillisBehindLatest": 0, "ChildShards": children })));
        } else if clock::monotonic() < self.beat {
            return None;
        }
        self.beat = clock::monotonic() + BEAT;
        let continuation = shard.log.sequence(self.at.index.saturating_sub(1), clock::wall_ms());
        let rest = json!({ "ContinuationSequenceNumber": continuation, "MillisBehindLatest": batch.behind_ms });
        Some(self.event(view, &batch, rest))
    }

    fn event(&self, view: &StreamView, batch: &Batch, rest: Json) -> Bytes {
        let page = Page { records: &batch.records, encrypted: view.encrypted, rest }.encode(self.protocol);
        let content_type =
            if self.protocol.is_cbor() { "application/x-amz-cbor-1.1" } else { "application/x-amz-json-1.1" };
        encode_subscribe_event(&page, content_type).into()
    }
}
