//! Takes user records out of aggregated records, without copying: keys and payloads are slices of what was received.
//!
//! A record that does not begin with the magic is a plain one. One that does and is damaged (too short, wrong MD5,
//! malformed message, index out of range) is delivered as it is too, and counted: nothing is dropped.

use bytes::Bytes;
use bytestring::ByteString;
use md5::{Digest, Md5};

use super::format::{DIGEST_BYTES, MAGIC, container, record};
use crate::stream::{Record, RecordPosition, UserRecord};

/// User records of one answer, and how many records were damaged aggregates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Deaggregated {
    /// The user records, in order.
    pub records: Vec<UserRecord>,
    /// Records that begin like an aggregate and are none.
    pub corrupt: usize,
}

/// Unpacks every aggregate among these records.
#[must_use]
pub fn deaggregate(records: Vec<Record>) -> Deaggregated {
    let mut out = Deaggregated { records: Vec::with_capacity(records.len()), corrupt: 0 };
    for record in records {
        if !record.data.starts_with(&MAGIC) {
            out.records.push(record.into());
            continue;
        }
        let before = out.records.len();
        if unpack(&record, &mut out.records).is_none() {
            out.records.truncate(before);
            out.corrupt += 1;
            out.records.push(record.into());
        }
    }
    out
}

/// Appends the user records of one aggregate; `None` if it is damaged.
fn unpack(record: &Record, out: &mut Vec<UserRecord>) -> Option<()> {
    let body_end = record.data.len().checked_sub(DIGEST_BYTES)?;
    if body_end <= MAGIC.len() {
        return None;
    }
    let body = record.data.slice(MAGIC.len()..body_end);
    if Md5::digest(&body)[..] != record.data[body_end..] {
        return None;
    }
    let tables = Tables::read(&body)?;
    let mut fields = Fields(body);
    let mut sub_sequence = 0;
    while let Some(field) = fields.next()? {
        if let (container::RECORD, Value::Bytes(inner)) = field {
            let user_record = tables.user_record(inner, record, sub_sequence)?;
            out.push(user_record);
            sub_sequence += 1;
        }
    }
    // An aggregate of nothing is no aggregate: dropping it would drop a record somebody put.
    (sub_sequence > 0).then_some(())
}

/// The two tables that user records index.
#[derive(Default)]
struct Tables {
    partition_keys: Vec<ByteString>,
    explicit_hash_keys: Vec<ByteString>,
}

impl Tables {
    fn read(body: &Bytes) -> Option<Self> {
        let mut tables = Self::default();
        let mut fields = Fields(body.clone());
        while let Some(field) = fields.next()? {
            match field {
                (container::PARTITION_KEY, Value::Bytes(key)) => tables.partition_keys.push(text(key)?),
                (container::EXPLICIT_HASH_KEY, Value::Bytes(key)) => tables.explicit_hash_keys.push(text(key)?),
                _ => {}
            }
        }
        Some(tables)
    }

    fn user_record(&self, message: Bytes, carrier: &Record, sub_sequence: u64) -> Option<UserRecord> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (record::PARTITION_KEY_INDEX, Value::Number(index)) => key = Some(at(&self.partition_keys, index)?),
                (record::EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => {
                    hash_key = Some(at(&self.explicit_hash_keys, index)?);
                }
                (record::DATA, Value::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Some(UserRecord {
            position: RecordPosition { sequence: carrier.sequence.clone(), sub_sequence },
            data: data?,
            partition_key: key?,
            explicit_hash_key: hash_key,
            arrival: carrier.arrival,
            is_aggregated: true,
        })
    }
}

fn at(table: &[ByteString], index: u64) -> Option<ByteString> {
    table.get(usize::try_from(index).ok()?).cloned()
}

fn text(bytes: Bytes) -> Option<ByteString> {
    ByteString::try_from(bytes).ok()
}

/// The value of a protobuf field.
enum Value {
    Number(u64),
    Bytes(Bytes),
    /// A fixed-width number: no field of ours, skipped.
    Fixed,
}

/// Reads the fields of a protobuf message one after the other.
struct Fields(Bytes);

impl Fields {
    /// The next field and its value; `Some(None)` at the end, `None` if the message is malformed.
    #[expect(clippy::option_option, reason = "the end and malformed are different answers, and `?` reads best so")]
    fn next(&mut self) -> Option<Option<(u64, Value)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.skip(4)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left.
            if index == 9 && byte > 1 {
                return None;
            }
            number |= bits << (7 * index);
            if byte < 0x80 {
                let _ = self.0.split_to(index + 1);
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn skip(&mut self, length: usize) -> Option<Value> {
        self.take(length).map(|_| Value::Fixed)
    }
}

#[cfg(test)]
mod tests;
