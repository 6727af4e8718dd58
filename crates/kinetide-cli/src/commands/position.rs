//! Start positions as people type them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use kinetide::stream::{SequenceNumber, StartAt};
use kinetide::{InitialPosition, Timestamp};

/// Parses `latest`, `trim-horizon`, a time, an age, or a sequence number; `now` is what an age is counted back from.
pub(crate) fn parse(text: &str, now: Timestamp) -> anyhow::Result<StartAt> {
    match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "latest" => return Ok(StartAt::Latest),
        "trim-horizon" => return Ok(StartAt::TrimHorizon),
        _ => {}
    }
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return Ok(StartAt::Timestamp(Timestamp::from_millis(millis(since_1970)?)));
    }
    // Longer than any time in seconds: a sequence number.
    if text.len() > 20 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(StartAt::Sequence(SequenceNumber::new(text)?));
    }
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(StartAt::Timestamp(Timestamp::from_millis(now.as_millis() - millis(age)?)));
    }
    bail!(
        "invalid position '{text}': give latest, trim-horizon, a time such as 2026-01-31T12:00:00Z, \
         or an age such as 15m"
    )
}

/// The same, for a worker: a sequence number makes no sense for all shards.
pub(crate) fn parse_initial(text: &str, now: Timestamp) -> anyhow::Result<InitialPosition> {
    match parse(text, now)? {
        StartAt::TrimHorizon => Ok(InitialPosition::TrimHorizon),
        StartAt::Latest => Ok(InitialPosition::Latest),
        StartAt::Timestamp(time) => Ok(InitialPosition::AtTimestamp(time)),
        _ => bail!("invalid position '{text}': a sequence number belongs to one shard"),
    }
}

fn millis(duration: Duration) -> anyhow::Result<i64> {
    i64::try_from(duration.as_millis()).context("the time is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StartAt {
        parse(text, Timestamp::from_millis(1_000_000)).unwrap()
    }

    #[test]
    fn positions_as_people_type_them() {
        assert_eq!(parsed("latest"), StartAt::Latest);
        assert_eq!(parsed("TRIM_HORIZON"), StartAt::TrimHorizon);
        assert_eq!(parsed("15m"), StartAt::Timestamp(Timestamp::from_millis(100_000)));
        assert_eq!(parsed("1970-01-01T00:00:01Z"), StartAt::Timestamp(Timestamp::from_millis(1_000)));
        let number = "49590338271490256608559692538361571095921575989136588898";
        assert_eq!(parsed(number), StartAt::Sequence(SequenceNumber::new(number).unwrap()));
    }

    #[test]
    fn nonsense_is_refused_with_what_would_do() {
        let error = parse("yesterday", Timestamp::from_millis(0)).unwrap_err().to_string();
        assert!(error.starts_with("invalid position 'yesterday': give latest"), "{error}");
        assert!(parse_initial(&"1".repeat(56), Timestamp::from_millis(0)).is_err());
    }
}
