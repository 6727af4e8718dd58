use proptest::prelude::*;

use super::*;
use crate::stream::Timestamp;

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn sealed(body: &[u8]) -> Bytes {
    [&MAGIC[..], body, &Md5::digest(body)[..]].concat().into()
}

/// An aggregate written field by field, with the keys before, after or between the records.
fn aggregate(records: &[(usize, Option<usize>, Vec<u8>)], keys: &[&str], hash_keys: &[&str]) -> Bytes {
    let mut body = Vec::new();
    for key in keys {
        field(&mut body, container::PARTITION_KEY, key.as_bytes());
    }
    for (key, hash_key, data) in records {
        let mut inner = Vec::new();
        varint(&mut inner, record::PARTITION_KEY_INDEX << 3);
        varint(&mut inner, *key as u64);
        if let Some(index) = hash_key {
            varint(&mut inner, record::EXPLICIT_HASH_KEY_INDEX << 3);
            varint(&mut inner, *index as u64);
        }
        field(&mut inner, record::DATA, data);
        field(&mut inner, 4, b"\x0a\x01t");
        field(&mut body, container::RECORD, &inner);
    }
    for key in hash_keys {
        field(&mut body, container::EXPLICIT_HASH_KEY, key.as_bytes());
    }
    sealed(&body)
}

fn carrier(data: Bytes) -> Record {
    Record { sequence: 7.into(), data, partition_key: "a".into(), arrival: Some(Timestamp::from_millis(5)) }
}

fn is_delivered_plain(data: Bytes) -> bool {
    let out = deaggregate(vec![carrier(data.clone())]);
    out.corrupt == 1 && out.records == vec![carrier(data).into()]
}

#[test]
fn plain_records_pass_untouched() {
    for data in [&b""[..], b"x", b"\xf3\x89\x9a", b"hello"] {
        let out = deaggregate(vec![carrier(Bytes::copy_from_slice(data))]);
        assert_eq!(out, Deaggregated { records: vec![carrier(Bytes::copy_from_slice(data)).into()], corrupt: 0 });
    }
}

#[test]
fn user_records_come_out_numbered() {
    let packed = aggregate(&[(0, None, b"one".into()), (1, Some(0), b"".into())], &["k0", "k1"], &["42"]);
    let out = deaggregate(vec![carrier(packed)]);
    assert_eq!(out.corrupt, 0);
    let [first, second] = &out.records[..] else { panic!("two records, not {}", out.records.len()) };
    assert_eq!((&first.data[..], &*first.partition_key, first.position.sub_sequence), (&b"one"[..], "k0", 0));
    assert_eq!((&second.data[..], &*second.partition_key, second.position.sub_sequence), (&b""[..], "k1", 1));
    assert_eq!(second.explicit_hash_key.as_deref(), Some("42"));
    assert!(first.is_aggregated && first.arrival == Some(Timestamp::from_millis(5)));
}

#[test]
fn damaged_aggregates_are_delivered_as_they_are() {
    let good = aggregate(&[(0, None, b"one".into())], &["k"], &[]);
    let mut wrong_digest = good.to_vec();
    *wrong_digest.last_mut().unwrap() ^= 1;
    let absurd_length = sealed(&[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let endless_varint = sealed(&[0xff; 11]);
    let bad_index = aggregate(&[(3, None, b"one".into())], &["k"], &[]);
    let bad_hash_index = aggregate(&[(0, Some(0), b"one".into())], &["k"], &[]);
    let not_utf8 = sealed(&[0x0a, 0x01, 0xff]);
    let group = sealed(&[0x0b]);
    let nothing_inside = sealed(&[0x0a, 0x01, b'k']);
    for data in [absurd_length, endless_varint, bad_index, bad_hash_index, not_utf8, group, nothing_inside] {
        assert!(is_delivered_plain(data.clone()), "{data:?}");
    }
    assert!(is_delivered_plain(wrong_digest.into()));
    assert!(is_delivered_plain(good.slice(..good.len() - 1)));
    assert!(is_delivered_plain(Bytes::from_static(&MAGIC)));
}

#[test]
fn payloads_are_slices_of_what_was_received() {
    let packed = aggregate(&[(0, None, vec![7; 100])], &["k"], &[]);
    let range = packed.as_ptr_range();
    let out = deaggregate(vec![carrier(packed)]);
    assert!(range.contains(&out.records[0].data.as_ptr()));
}

proptest! {
    #[test]
    fn what_was_packed_comes_out(records in prop::collection::vec((0usize..3, prop::collection::vec(any::<u8>(), 0..300)), 1..40)) {
        let keys = ["a", "schlüssel", ""];
        let packed: Vec<_> = records.iter().map(|(key, data)| (*key, None, data.clone())).collect();
        let out = deaggregate(vec![carrier(aggregate(&packed, &keys, &[]))]);
        prop_assert_eq!(out.corrupt, 0);
        let got: Vec<_> = out.records.iter().map(|r| (r.partition_key.to_string(), r.data.to_vec())).collect();
        let want: Vec<_> = records.iter().map(|(key, data)| (keys[*key].to_owned(), data.clone())).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn arbitrary_bodies_never_panic_nor_vanish(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let out = deaggregate(vec![carrier(sealed(&body))]);
        prop_assert!(!out.records.is_empty());
    }
}
