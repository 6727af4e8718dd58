//! Records on standard output: bare lines for people and pipes, NDJSON for programs.

use std::io::Write;

use kinetide::UserRecord;
use kinetide::stream::ShardId;
use serde::Serialize;

/// A line for people, on standard error. Nobody may be reading, and that is no reason to fail.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A result, on standard output.
///
/// # Errors
/// Standard output cannot be written to; a closed pipe is no error, its reader has what it wanted.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A record as a line of JSON. Data that is not UTF-8 is given in Base64 instead.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonRecord<'a> {
    shard: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_arrival_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Appends one record and a line end.
pub(crate) fn write_record(out: &mut Vec<u8>, shard: &ShardId, record: &UserRecord, as_json: bool) {
    if !as_json {
        out.extend_from_slice(&record.data);
        out.push(b'\n');
        return;
    }
    use base64::Engine;
    let text = std::str::from_utf8(&record.data).ok();
    let json = JsonRecord {
        shard: shard.as_str(),
        sequence_number: record.position.sequence.as_str(),
        sub_sequence_number: record.position.sub_sequence,
        partition_key: &record.partition_key,
        approximate_arrival_timestamp: record.arrival.map(kinetide::Timestamp::as_millis),
        data: text,
        data_base64: text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(&record.data)),
    };
    // Strings and numbers always serialise; a vector always takes them.
    let _ = serde_json::to_writer(&mut *out, &json);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinetide::stream::{Record, Timestamp};

    fn record(data: &'static [u8]) -> UserRecord {
        let arrival = Some(Timestamp::from_millis(5));
        Record { sequence: 7.into(), data: data.into(), partition_key: "k".into(), arrival }.into()
    }

    fn written(data: &'static [u8], as_json: bool) -> String {
        let mut out = Vec::new();
        write_record(&mut out, &ShardId::new("s").unwrap(), &record(data), as_json);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_and_json() {
        assert_eq!(written(b"hello", false), "hello\n");
        let json = r#"{"shard":"s","sequenceNumber":"7","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":5,"data":"h\"i"}"#;
        assert_eq!(written(b"h\"i", true), format!("{json}\n"));
        assert!(written(b"\xff\x00", true).contains(r#""dataBase64":"/wA=""#));
    }
}
