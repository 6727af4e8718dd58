//! What a child says, judged line by line.
//!
//! The Java daemon skips whatever it cannot decode, and so does this one: stray output must stay harmless. Two
//! deliberate deviations: unknown keys in a message are no reason to skip it (Java then waits for ever), and the line
//! `null` is skipped (Java dies of it).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A request to checkpoint. Nothing in it is validated: that is for whoever checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointRequest {
    /// Where; `None` means everything delivered so far.
    pub sequence_number: Option<String>,
    /// The index inside an aggregate.
    pub sub_sequence_number: Option<i64>,
}

/// A message of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildMessage {
    /// An action is done.
    Status {
        /// Which, in the child's words.
        response_for: Option<String>,
    },
    /// A checkpoint is wanted.
    Checkpoint(CheckpointRequest),
    /// One of the daemon's own messages; it means nothing from a child.
    Irrelevant,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// A message.
    Message(ChildMessage),
    /// Nothing at all: clients put empty lines around their messages.
    Empty,
    /// Something else, and why; the child may go on.
    Skipped(&'static str),
}

/// Judges one line, without its line end.
#[must_use]
pub fn decode(line: &[u8]) -> Judged {
    if line.is_empty() {
        return Judged::Empty;
    }
    let text = String::from_utf8_lossy(line);
    let mut reader = serde_json::Deserializer::from_str(&text);
    // Whatever follows the first value is dropped: `end` is not called.
    let Ok(fields) = reader.deserialize_map(FieldsVisitor) else {
        return Judged::Skipped("it is no JSON object");
    };
    match fields.message() {
        Ok(message) => Judged::Message(message),
        Err(why) => Judged::Skipped(why),
    }
}

/// The fields that matter, still as JSON text; of a key given twice, the last.
#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a RawValue>,
    response_for: Option<&'a RawValue>,
    sequence_number: Option<&'a RawValue>,
    sub_sequence_number: Option<&'a RawValue>,
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            let field = match key.as_str() {
                "action" => &mut fields.action,
                "responseFor" => &mut fields.response_for,
                "sequenceNumber" => &mut fields.sequence_number,
                "subSequenceNumber" => &mut fields.sub_sequence_number,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(map.next_value()?);
        }
        Ok(fields)
    }
}

impl Fields<'_> {
    fn message(&self) -> Result<ChildMessage, &'static str> {
        let action = self.action.and_then(|action| serde_json::from_str::<Cow<'_, str>>(action.get()).ok());
        match action.as_deref() {
            Some("status") => Ok(ChildMessage::Status { response_for: text(self.response_for)? }),
            Some("checkpoint") => Ok(ChildMessage::Checkpoint(CheckpointRequest {
                sequence_number: text(self.sequence_number)?,
                sub_sequence_number: integer(self.sub_sequence_number)?,
            })),
            Some("initialize" | "processRecords" | "leaseLost" | "shardEnded" | "shutdownRequested" | "shutdown") => {
                Ok(ChildMessage::Irrelevant)
            }
            _ => Err("it has no action that is known"),
        }
    }
}

/// A text; numbers and booleans count as they are written, so that a sequence number of 56 digits survives.
fn text(value: Option<&RawValue>) -> Result<Option<String>, &'static str> {
    let Some(json) = value.map(RawValue::get) else { return Ok(None) };
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => serde_json::from_str(json).map(Some).map_err(|_| "it has a text that cannot be read"),
        Some(b'{' | b'[') => Err("it has an object or array in the place of a text"),
        _ => Ok(Some(json.to_owned())),
    }
}

/// A whole number; fractions are cut, a text is read, an empty one is `null`.
fn integer(value: Option<&RawValue>) -> Result<Option<i64>, &'static str> {
    const WHY: &str = "its subSequenceNumber is no number";
    let Some(json) = value.map(RawValue::get) else { return Ok(None) };
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => {
            let text: String = serde_json::from_str(json).map_err(|_| WHY)?;
            match text.trim() {
                "" | "null" => Ok(None),
                digits => digits.parse().map(Some).map_err(|_| WHY),
            }
        }
        Some(b'-' | b'0'..=b'9') => json.parse().ok().or_else(|| whole_part(json)).map(Some).ok_or(WHY),
        _ => Err(WHY),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the fraction is cut on purpose; the range is checked")]
fn whole_part(json: &str) -> Option<i64> {
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    let number: f64 = json.parse().ok()?;
    (-EDGE..EDGE).contains(&number).then_some(number as i64)
}
