use kinetide::stream::{Checkpoint, RecordPosition, SequenceNumber, ShardId, Timestamp, UserRecord};
use proptest::prelude::*;

use super::*;

fn encoded(action: &Action<'_>) -> String {
    let mut out = Vec::new();
    action.encode(&mut out);
    String::from_utf8(out).unwrap()
}

fn record(data: &[u8], key: &str, sequence: u64, sub_sequence: u64) -> UserRecord {
    UserRecord {
        position: RecordPosition { sequence: sequence.into(), sub_sequence },
        data: data.to_vec().into(),
        partition_key: key.into(),
        explicit_hash_key: None,
        arrival: Some(Timestamp::from_millis(1_731_000_000_456)),
        is_aggregated: false,
    }
}

fn batch(records: &[UserRecord], millis_behind_latest: Option<u64>) -> String {
    encoded(&Action::ProcessRecords { records, millis_behind_latest })
}

fn reply(sequence_number: Option<&str>, sub_sequence_number: Option<i64>, error: Option<&str>) -> String {
    let mut out = Vec::new();
    let request = CheckpointRequest { sequence_number: sequence_number.map(str::to_owned), sub_sequence_number };
    encode_reply(&mut out, &request, error);
    String::from_utf8(out).unwrap()
}

#[test]
fn initialize_carries_number_or_sentinel() {
    let shard = ShardId::new("shardId-000000000003").unwrap();
    assert_eq!(
        encoded(&Action::Initialize { shard: &shard, checkpoint: &Checkpoint::TrimHorizon }),
        "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000003\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}\n"
    );
    let at = Checkpoint::At(RecordPosition { sequence: 4961.into(), sub_sequence: 7 });
    assert_eq!(
        encoded(&Action::Initialize { shard: &shard, checkpoint: &at }),
        "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000003\",\"sequenceNumber\":\"4961\",\"subSequenceNumber\":7}\n"
    );
}

#[test]
fn batches_keep_key_order_and_nulls() {
    assert_eq!(
        batch(&[record(b"xyz", "k1", 4961, 0)], Some(250)),
        "{\"action\":\"processRecords\",\"records\":[{\"data\":\"eHl6\",\"partitionKey\":\"k1\",\"sequenceNumber\":\"4961\",\
         \"approximateArrivalTimestamp\":1731000000456,\"subSequenceNumber\":0,\"action\":\"record\"}],\"millisBehindLatest\":250}\n"
    );
    assert_eq!(batch(&[], None), "{\"action\":\"processRecords\",\"records\":[],\"millisBehindLatest\":null}\n");
    let unstamped = UserRecord { arrival: None, ..record(b"", "k", 1, 2) };
    assert_eq!(
        batch(&[unstamped.clone(), unstamped], Some(0)),
        "{\"action\":\"processRecords\",\"records\":[{\"data\":\"\",\"partitionKey\":\"k\",\"sequenceNumber\":\"1\",\
         \"approximateArrivalTimestamp\":null,\"subSequenceNumber\":2,\"action\":\"record\"},{\"data\":\"\",\"partitionKey\":\"k\",\
         \"sequenceNumber\":\"1\",\"approximateArrivalTimestamp\":null,\"subSequenceNumber\":2,\"action\":\"record\"}],\
         \"millisBehindLatest\":0}\n"
    );
}

#[test]
fn data_is_padded_standard_base64() {
    assert!(batch(&[record(&[0xfb, 0xff, 0xfe, 0], "k", 1, 0)], None).contains("\"data\":\"+//+AA==\""));
}

#[test]
fn keys_escape_only_what_json_needs() {
    let escaped = batch(&[record(b"", "é\u{1f}\u{7f}\"\\\n\t\r\u{8}\u{c}/日", 1, 0)], None);
    assert!(escaped.contains("\"partitionKey\":\"é\\u001F\u{7f}\\\"\\\\\\n\\t\\r\\b\\f/日\""), "{escaped}");
}

#[test]
fn the_last_actions_carry_nothing() {
    assert_eq!(encoded(&Action::LeaseLost), "{\"action\":\"leaseLost\"}\n");
    assert_eq!(encoded(&Action::ShardEnded), "{\"action\":\"shardEnded\"}\n");
    assert_eq!(encoded(&Action::ShutdownRequested), "{\"action\":\"shutdownRequested\"}\n");
}

#[test]
fn replies_echo_the_request() {
    assert_eq!(
        reply(Some("4961"), None, None),
        "{\"action\":\"checkpoint\",\"sequenceNumber\":\"4961\",\"subSequenceNumber\":null,\"error\":null}\n"
    );
    assert_eq!(
        reply(None, Some(3), Some("ThrottlingException")),
        "{\"action\":\"checkpoint\",\"sequenceNumber\":null,\"subSequenceNumber\":3,\"error\":\"ThrottlingException\"}\n"
    );
}

fn status(response_for: Option<&str>) -> Judged {
    Judged::Message(ChildMessage::Status { response_for: response_for.map(str::to_owned) })
}

fn checkpoint(sequence_number: Option<&str>, sub_sequence_number: Option<i64>) -> Judged {
    let sequence_number = sequence_number.map(str::to_owned);
    Judged::Message(ChildMessage::Checkpoint(CheckpointRequest { sequence_number, sub_sequence_number }))
}

fn is_skipped(line: &str) -> bool {
    matches!(decode(line.as_bytes()), Judged::Skipped(_))
}

#[test]
fn an_empty_line_is_nothing() {
    assert_eq!(decode(b""), Judged::Empty);
}

#[test]
fn what_is_no_object_is_skipped() {
    for line in [
        " ",
        "\t",
        "hello",
        "{",
        "{\"action\":",
        "5",
        "\"status\"",
        "true",
        "[]",
        "[{}]",
        "null",
        " null",
        "\u{feff}{\"action\":\"checkpoint\"}",
        "{'action':'checkpoint'}",
        "{\"action\":\"checkpoint\",}",
        "[\"status\",{\"responseFor\":\"x\"}]",
        "{\"action\":\"checkpoint\"",
        "text {\"action\":\"checkpoint\"}",
    ] {
        assert!(is_skipped(line), "{line}");
    }
}

#[test]
fn an_action_that_is_not_known_is_skipped() {
    for line in [
        "{}",
        "{\"action\":null}",
        "{\"action\":\"Status\"}",
        "{\"action\":\"nothing\"}",
        "{\"action\":5}",
        "{\"action\":[]}",
        "{\"Action\":\"checkpoint\"}",
        "{\"action\":\"record\"}",
        "{\"responseFor\":\"initialize\"}",
    ] {
        assert!(is_skipped(line), "{line}");
    }
}

#[test]
fn unknown_keys_do_no_harm() {
    assert_eq!(
        decode(br#"{"action":"status","responseFor":"initialize","extra":{"a":[1]}}"#),
        status(Some("initialize"))
    );
    assert_eq!(decode(br#"{"action":"checkpoint","checkpoint":"49","error":null}"#), checkpoint(None, None));
}

#[test]
fn the_daemons_own_messages_are_irrelevant() {
    for action in ["initialize", "processRecords", "leaseLost", "shardEnded", "shutdownRequested", "shutdown"] {
        let line = format!("{{\"action\":\"{action}\",\"reason\":\"x\"}}");
        assert_eq!(decode(line.as_bytes()), Judged::Message(ChildMessage::Irrelevant), "{action}");
    }
}

#[test]
fn a_status_may_name_nothing_or_something_else() {
    assert_eq!(decode(br#"{"action":"status"}"#), status(None));
    assert_eq!(decode(br#"{"action":"status","responseFor":null}"#), status(None));
    assert_eq!(decode(br#"{"action":"status","responseFor":"other"}"#), status(Some("other")));
    assert_eq!(decode(br#"{"action":"status","responseFor":5}"#), status(Some("5")));
    assert!(is_skipped(r#"{"action":"status","responseFor":{}}"#));
}

#[test]
fn text_after_the_object_is_dropped() {
    assert_eq!(decode(br#"{"action":"checkpoint"} {"action":"status"}"#), checkpoint(None, None));
    assert_eq!(decode(br#"{"action":"checkpoint"}garbage"#), checkpoint(None, None));
}

#[test]
fn blanks_order_and_duplicates_do_not_matter() {
    assert_eq!(decode(b"  \t{\"action\": \"checkpoint\"}"), checkpoint(None, None));
    assert_eq!(decode(br#"{"responseFor":"leaseLost","action":"status"}"#), status(Some("leaseLost")));
    let twice = br#"{"action":"checkpoint","sequenceNumber":"1","sequenceNumber":"2"}"#;
    assert_eq!(decode(twice), checkpoint(Some("2"), None));
    assert_eq!(decode(br#"{"\u0061ction":"checkpoint"}"#), checkpoint(None, None));
    assert_eq!(decode(b"{\"action\":\"status\",\"responseFor\":\"\xff\"}"), status(Some("\u{fffd}")));
}

#[test]
fn sequence_numbers_become_text() {
    let digits = "49590338271490256608559692538361571095921575989136588898";
    let with = |json: &str| decode(format!("{{\"action\":\"checkpoint\",\"sequenceNumber\":{json}}}").as_bytes());
    assert_eq!(with(digits), checkpoint(Some(digits), None));
    assert_eq!(with("true"), checkpoint(Some("true"), None));
    assert_eq!(with("1.50"), checkpoint(Some("1.50"), None));
    assert_eq!(with("null"), checkpoint(None, None));
    assert!(matches!(with("[1]"), Judged::Skipped(_)));
    assert!(matches!(with("{}"), Judged::Skipped(_)));
}

#[test]
fn sub_sequence_numbers_become_whole() {
    let with = |json: &str| decode(format!("{{\"action\":\"checkpoint\",\"subSequenceNumber\":{json}}}").as_bytes());
    for (json, number) in [
        ("7", Some(7)),
        ("\"7\"", Some(7)),
        ("\" 7 \"", Some(7)),
        ("7.9", Some(7)),
        ("-1", Some(-1)),
        ("1e2", Some(100)),
        ("\"\"", None),
        ("null", None),
    ] {
        assert_eq!(with(json), checkpoint(None, number), "{json}");
    }
    for json in ["\"abc\"", "\"7.9\"", "true", "[]", "{}", "1e300", "9223372036854775808"] {
        assert!(matches!(with(json), Judged::Skipped(_)), "{json}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&line);
    }

    #[test]
    fn any_batch_is_one_line_of_json_that_says_what_it_got(
        records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), ".*", any::<u64>(), any::<u64>()), 0..8),
        behind in proptest::option::of(any::<u64>()),
    ) {
        let records: Vec<_> = records.iter().map(|(data, key, sequence, sub)| record(data, key, *sequence, *sub)).collect();
        let line = batch(&records, behind);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(json["records"].as_array().unwrap().len(), records.len());
        for (read, record) in json["records"].as_array().unwrap().iter().zip(&records) {
            let data = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, read["data"].as_str().unwrap());
            prop_assert_eq!(data.unwrap(), record.data.to_vec());
            prop_assert_eq!(read["partitionKey"].as_str(), Some(&*record.partition_key));
            prop_assert_eq!(read["sequenceNumber"].as_str().map(|text| SequenceNumber::new(text).unwrap()), Some(record.position.sequence.clone()));
        }
    }
}
