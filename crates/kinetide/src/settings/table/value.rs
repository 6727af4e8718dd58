//! Texts into values, by the rules of the Java daemon as far as they make sense.
//!
//! A text that is no number, or a negative one, leaves the default and is said aloud (Java makes it 0 without a word).
//! So does one that is neither true nor false (Java takes it as false).
//! A word that is none of those allowed, a malformed time, address or region is refused.

use std::time::Duration;

use super::{Kind, Row};

/// What a property's text stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text of any kind.
    Text(String),
    /// A whole number.
    Number(u64),
    /// A fraction.
    Real(f64),
    /// A span of time.
    Time(Duration),
    /// Yes or no.
    Flag(bool),
    /// One of the words the row allows.
    Word(&'static str),
    /// Seconds since 1970; negative before.
    EpochSeconds(i64),
}

impl Value {
    /// The number as the property writes it.
    pub(super) fn in_units_of(&self, kind: Kind) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Time(time) if kind == Kind::Seconds => time.as_secs(),
            Self::Time(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            _ => 0,
        }
    }
}

/// A text that is no value of its property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is '{value}', which {fault}")]
pub struct BadValue {
    /// The property.
    pub key: String,
    /// The text, or a stand-in if it must not be shown.
    pub value: String,
    /// What is wrong with it.
    pub fault: String,
    /// True if Java would not start either; otherwise the default stays.
    pub is_refused: bool,
}

impl BadValue {
    pub(super) fn refused(row: &Row, value: &str, fault: String) -> Self {
        Self { key: row.key(), value: shown(row, value), fault, is_refused: true }
    }

    pub(super) fn ignored(row: &Row, value: &str, fault: String) -> Self {
        let fault = match row.java_default {
            "" => format!("{fault}; it is ignored"),
            default => format!("{fault}; the default ({default}) stays"),
        };
        Self { key: row.key(), value: shown(row, value), fault, is_refused: false }
    }
}

/// A value as it may be printed: secrets hidden, long ones cut.
fn shown(row: &Row, value: &str) -> String {
    const SHOWN_MAX: usize = 200;
    match row.is_secret() {
        true => "(not shown)".to_owned(),
        false => value.chars().take(SHOWN_MAX).collect(),
    }
}

impl Row {
    /// Reads a text.
    ///
    /// # Errors
    /// [`BadValue`] with the key, the text and what is wrong.
    pub fn parse(&self, text: &str) -> Result<Value, BadValue> {
        let text = text.trim();
        let refused = |fault: &str| Err(BadValue::refused(self, text, fault.to_owned()));
        match self.kind {
            Kind::Count => self.whole_number(text).map(Value::Number),
            Kind::Millis => self.whole_number(text).map(|number| Value::Time(Duration::from_millis(number))),
            Kind::Seconds => self.whole_number(text).map(|number| Value::Time(Duration::from_secs(number))),
            Kind::Real => self.fraction(text).map(Value::Real),
            Kind::Flag => self.true_or_false(text).map(Value::Flag),
            Kind::Word(words) => self.word(text, words),
            Kind::IsoDuration => match iso_duration(text) {
                Some(time) => Ok(Value::Time(time)),
                None => refused("is not an ISO 8601 duration such as PT12H"),
            },
            Kind::EpochSeconds => match text.parse() {
                Ok(seconds) => Ok(Value::EpochSeconds(seconds)),
                Err(_) => refused("is not a whole number of seconds since 1970"),
            },
            Kind::Uri if !is_address(text) => refused("is not an address such as http://127.0.0.1:4567"),
            Kind::Region if text.is_empty() => refused("is not a region"),
            Kind::Class => refused("cannot be given as text; remove the key"),
            _ => Ok(Value::Text(text.to_owned())),
        }
    }

    fn whole_number(&self, text: &str) -> Result<u64, BadValue> {
        match text.parse::<i64>() {
            Ok(number) => u64::try_from(number).map_err(|_| BadValue::ignored(self, text, "is negative".to_owned())),
            Err(_) => Err(BadValue::ignored(self, text, "is not a whole number".to_owned())),
        }
    }

    fn fraction(&self, text: &str) -> Result<f64, BadValue> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            Ok(_) => Err(BadValue::ignored(self, text, "is not a positive number".to_owned())),
            Err(_) => Err(BadValue::ignored(self, text, "is not a number".to_owned())),
        }
    }

    fn true_or_false(&self, text: &str) -> Result<bool, BadValue> {
        let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        match (is_one_of(TRUE), is_one_of(FALSE)) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(BadValue::ignored(self, text, "is neither true nor false".to_owned())),
        }
    }

    fn word(&self, text: &str, words: &'static [&'static str]) -> Result<Value, BadValue> {
        match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            Some(word) => Ok(Value::Word(word)),
            None => Err(BadValue::refused(self, text, format!("is none of {}", words.join(", ")))),
        }
    }
}

/// What Java takes as true, in any case.
const TRUE: &[&str] = &["true", "yes", "y", "on", "1"];
/// What somebody writes who means false.
const FALSE: &[&str] = &["false", "no", "n", "off", "0", ""];

/// Java takes an address without a scheme and then fails every call; here it is refused at once.
fn is_address(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace))
}

/// `P[nD][T[nH][nM][n[.n]S]]`, without negative parts.
fn iso_duration(text: &str) -> Option<Duration> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix('P')?;
    let (days, times) = rest.split_once('T').map_or((rest, None), |(days, times)| (days, Some(times)));
    if times.map_or(days.is_empty(), str::is_empty) {
        return None;
    }
    let days = parts(days, &[('D', 86_400)])?;
    let times = parts(times.unwrap_or_default(), &[('H', 3600), ('M', 60), ('S', 1)])?;
    days.checked_add(times)
}

fn parts(text: &str, units: &[(char, u32)]) -> Option<Duration> {
    let (mut rest, mut total) = (text, Duration::ZERO);
    for (unit, seconds) in units {
        let Some((number, after)) = rest.split_once(*unit) else { continue };
        let is_number = number.bytes().all(|b| b.is_ascii_digit() || (b == b'.' && *unit == 'S'));
        let number: f64 = if is_number { number.parse().ok()? } else { return None };
        total = total.checked_add(Duration::try_from_secs_f64(number * f64::from(*seconds)).ok()?)?;
        rest = after;
    }
    rest.is_empty().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        assert_eq!(iso_duration("PT12H"), hours(12));
        assert_eq!(iso_duration("P1D"), hours(24));
        assert_eq!(iso_duration("p1dt2h"), hours(26));
        assert_eq!(iso_duration("PT0.5S"), Some(Duration::from_millis(500)));
        for text in ["", "P", "PT", "1D", "P-1D", "PT-5S", "PT1H1H", "PT1S1H", "12h", "P1.5D"] {
            assert_eq!(iso_duration(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        assert!(is_address("http://localhost:4567") && is_address("https://kinesis.eu-west-1.amazonaws.com/"));
        assert!(
            !is_address("localhost:4567") && !is_address("http://") && !is_address("http://a b") && !is_address("")
        );
    }
}
