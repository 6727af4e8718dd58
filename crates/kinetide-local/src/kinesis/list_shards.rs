//! ListShards with its filters and tokens.
//!
//! ferrokinesis ignores the filter and cannot follow its own token. Invariants: pages of one listing show the same
//! stream under the same filter; a shard that ended before the retention period began is not listed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::streams::{ShardView, StreamView};
use super::{Kinesis, expired, invalid};
use crate::clock;
use crate::faults::AwsError;
use crate::wire::timestamp_ms;

const SHARDS_DEFAULT: usize = 1000;
const TOKEN_MS_MAX: u64 = 300_000;

/// Where a listing goes on.
#[derive(Serialize, Deserialize)]
struct Token {
    stream: String,
    after: String,
    filter: Json,
    made_ms: u64,
}

impl Kinesis {
    pub(super) async fn list_shards(&self, request: &Json) -> Result<Json, AwsError> {
        let place = self.place(request)?;
        let view = self.streams.view(&place.stream).await?;
        let filter = Filter::parse(&place.filter, &view)?;
        let max = request["MaxResults"].as_u64().map_or(SHARDS_DEFAULT, |max| max as usize);
        let mut shards = view.shards.iter().filter(|shard| shard.shard.shard_id > place.after && filter.takes(shard));
        let page: Vec<&ShardView> = shards.by_ref().take(max).collect();
        let listed: Vec<_> = page.iter().map(|view| &view.shard).collect();
        let mut answer = json!({ "Shards": listed });
        if let (Some(last), Some(_)) = (page.last(), shards.next()) {
            answer["NextToken"] =
                Json::String(seal(&Token { after: last.shard.shard_id.clone(), made_ms: clock::wall_ms(), ..place }));
        }
        Ok(answer)
    }

    fn place(&self, request: &Json) -> Result<Token, AwsError> {
        if let Some(token) = request["NextToken"].as_str() {
            if request["StreamName"].is_string() {
                return Err(invalid("NextToken and StreamName cannot be provided together."));
            }
            return open(token);
        }
        let stream = self.stream_name(request["StreamName"].as_str(), request["StreamARN"].as_str())?;
        let after = request["ExclusiveStartShardId"].as_str().unwrap_or("").to_owned();
        Ok(Token { stream, after, filter: request["ShardFilter"].clone(), made_ms: clock::wall_ms() })
    }
}

fn seal(token: &Token) -> String {
    STANDARD.encode(serde_json::to_vec(token).unwrap_or_default())
}

fn open(text: &str) -> Result<Token, AwsError> {
    let bytes = STANDARD.decode(text).map_err(|_| invalid("Invalid NextToken."))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid NextToken."))?;
    if clock::wall_ms().saturating_sub(token.made_ms) > TOKEN_MS_MAX {
        let message = format!("NextToken is older than {TOKEN_MS_MAX} milliseconds.");
        return Err(AwsError { code: "ExpiredNextTokenException".to_owned(), ..expired(&message) });
    }
    Ok(token)
}

/// Which shards are wanted.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    /// Those with a greater id.
    After(String),
    /// Those open now.
    Latest,
    /// Those open at a time.
    OpenAt(u64),
    /// Those open at a time or later.
    Since(u64),
}

impl Filter {
    fn parse(filter: &Json, view: &StreamView) -> Result<Self, AwsError> {
        let time = || {
            let missing = || invalid("Timestamp parameter cannot be null or empty for this ShardFilter type.");
            filter["Timestamp"].as_f64().map(timestamp_ms).ok_or_else(missing)
        };
        let horizon = horizon_ms(view);
        match filter["Type"].as_str() {
            None | Some("FROM_TRIM_HORIZON") => Ok(Self::Since(horizon)),
            Some("AT_TRIM_HORIZON") => Ok(Self::OpenAt(horizon)),
            Some("AT_LATEST") => Ok(Self::Latest),
            Some("AT_TIMESTAMP") => Ok(Self::OpenAt(time()?.max(horizon))),
            Some("FROM_TIMESTAMP") => Ok(Self::Since(time()?.max(horizon))),
            Some("AFTER_SHARD_ID") => match filter["ShardId"].as_str() {
                Some(id) => Ok(Self::After(id.to_owned())),
                None => Err(invalid("ShardId parameter cannot be null or empty for ShardFilter type AFTER_SHARD_ID.")),
            },
            Some(other) => Err(invalid(&format!("ShardFilter type {other} is unknown."))),
        }
    }

    fn takes(&self, shard: &ShardView) -> bool {
        let ended_before = |time: u64| shard.ended_ms.is_some_and(|ended| ended < time);
        match self {
            Self::After(id) => shard.shard.shard_id > *id,
            Self::Latest => shard.ended_ms.is_none(),
            Self::OpenAt(time) => shard.created_ms <= *time && !ended_before(*time),
            Self::Since(time) => !ended_before(*time),
        }
    }
}

/// The oldest moment that records can be of: a stream younger than its retention begins with its first shard.
fn horizon_ms(view: &StreamView) -> u64 {
    let first = view.shards.iter().map(|shard| shard.created_ms).min();
    view.horizon_ms().max(first.unwrap_or(0))
}
