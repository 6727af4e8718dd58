//! Sequence numbers: decimal integers of up to 129 digits, compared as integers.
//!
//! Kinesis issues 56 digits, more than 128 bits hold. They are kept as text, because text is what arrives and what is
//! stored, and compared by length, then lexically, which for digits without leading zeros is the order of integers.

use std::cmp::Ordering;
use std::fmt;

use bytestring::ByteString;

/// The sequence number of a record: unique in its shard, growing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(ByteString);

/// A text that is no sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid sequence number '{0}': must be 1 to 129 decimal digits")]
pub struct InvalidSequenceNumber(pub String);

const DIGITS_MAX: usize = 129;

impl SequenceNumber {
    /// Validates a decimal number; leading zeros are dropped, so that equal numbers are equal texts.
    ///
    /// # Errors
    /// [`InvalidSequenceNumber`] with the text when it is empty, longer than 129 digits or not all digits.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, InvalidSequenceNumber> {
        let text = text.into();
        let valid = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !valid {
            let shown: String = text.chars().take(200).collect();
            return Err(InvalidSequenceNumber(shown));
        }
        let significant = text.trim_start_matches('0');
        if significant.len() == text.len() || text.len() == 1 {
            return Ok(Self(text));
        }
        Ok(Self(if significant.is_empty() { ByteString::from_static("0") } else { significant.into() }))
    }

    /// The number as decimal text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl From<u64> for SequenceNumber {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leading_zeros_do_not_make_another_number() {
        assert_eq!(SequenceNumber::new("007").unwrap(), SequenceNumber::from(7));
        assert_eq!(SequenceNumber::new("000").unwrap().as_str(), "0");
        assert_eq!(SequenceNumber::new("0").unwrap().as_str(), "0");
    }

    #[test]
    fn refuses_what_is_not_decimal() {
        for text in ["", "-1", "+1", "1.0", "0x1", " 1", "TRIM_HORIZON", &"9".repeat(130)] {
            assert!(SequenceNumber::new(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn orders_as_integers(a: u64, b: u64) {
            prop_assert_eq!(SequenceNumber::from(a).cmp(&SequenceNumber::from(b)), a.cmp(&b));
        }
    }
}
