//! One row per setting: its field, its Java property and aliases, how a text becomes a value, the Java default, the
//! bounds, and one sentence. The MultiLang daemon's properties, `docs/settings.md` and the test that our defaults are
//! the Java ones all come from here.
//!
//! It is not for reading files or deciding what a daemon does with a value it does not know; that is the daemon's.
//!
//! Invariants: a key names one row; a row with a key and a field sets that field and nothing else; a refused or ignored
//! text leaves [`Settings`] untouched.

mod document;
mod nearest;
mod rows;
mod value;

#[cfg(test)]
mod tests;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::Settings;
pub use document::markdown;
pub use nearest::nearest;
pub use rows::ROWS;
pub use value::{BadValue, Value};

/// What a property's text stands for, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text; blanks around it are dropped.
    Text,
    /// A whole number.
    Count,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// A fraction.
    Real,
    /// True for `true`, `yes`, `y`, `on` and `1`, false for `false`, `no`, `n`, `off`, `0` and nothing, in any case.
    Flag,
    /// An ISO 8601 duration such as `PT12H`.
    IsoDuration,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// Texts with commas or blanks between them.
    List,
    /// `key=value` pairs with commas between them.
    Tags,
    /// The address of a service.
    Uri,
    /// The ARN of a stream.
    Arn,
    /// The name of an AWS region.
    Region,
    /// Names of credentials providers; never shown.
    Credentials,
    /// A time in seconds since 1970, UTC.
    EpochSeconds,
    /// A command line, split at blanks.
    Command,
    /// A Java object, which no text can give.
    Class,
}

/// Whether a key does something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Active,
    /// It does nothing, and why.
    Inert(&'static str),
    /// It will do something once this part is built.
    Planned(&'static str),
}

/// What a number must be; zero apart, which leaves the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Anything from 0 on.
    None,
    /// Less is refused.
    AtLeast(u64),
    /// Less is raised to this, and said.
    RaisedTo(u64),
    /// More is refused.
    AtMost(u64),
}

/// How a value gets into [`Settings`].
#[derive(Debug, Clone, Copy)]
enum Setter {
    Nothing,
    Time(fn(&mut Settings, Duration)),
    Count(fn(&mut Settings, NonZeroU32)),
    Size(fn(&mut Settings, NonZeroUsize)),
    Flag(fn(&mut Settings, bool)),
    Word(fn(&mut Settings, &'static str)),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The heading it stands under in the documentation.
    pub group: &'static str,
    /// The field of [`Settings`]; empty if the daemon or the AWS clients use the value.
    pub field: &'static str,
    /// The key in a `.properties` file; empty if no key reaches the field.
    pub property: &'static str,
    /// Other keys that mean the same.
    pub aliases: &'static [&'static str],
    /// The Java bean through which the key is reachable too, as `bean.property`; empty if there is none.
    pub bean: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// What the Java daemon uses when the key is absent.
    pub java_default: &'static str,
    /// What its number must be.
    pub bounds: Bounds,
    /// The KCL version that brought the key; empty if it was always there.
    pub since: &'static str,
    /// Whether it does something here.
    pub status: Status,
    /// One sentence.
    pub doc: &'static str,
    setter: Setter,
}

impl Row {
    /// The keys by which the row is found, the property first.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let dotted = (!self.bean.is_empty()).then(|| format!("{}.{}", self.bean, self.property));
        let plain = (!self.bean_only()).then(|| self.property.to_owned());
        plain.into_iter().chain(dotted).chain(self.aliases.iter().map(|alias| (*alias).to_owned()))
    }

    /// The key to show: the plain one if there is one.
    #[must_use]
    pub fn key(&self) -> String {
        self.keys().next().unwrap_or_default()
    }

    /// True if the value must never be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Credentials
    }

    /// Keys of the fan-out bean have no plain form.
    fn bean_only(&self) -> bool {
        self.property.is_empty() || self.bean == rows::FAN_OUT_BEAN
    }

    fn answers_to(&self, key: &str) -> bool {
        if self.property.is_empty() {
            return false;
        }
        let is_plain = !self.bean_only() && key == self.property;
        let is_dotted = !self.bean.is_empty()
            && key.strip_prefix(self.bean).and_then(|rest| rest.strip_prefix('.')) == Some(self.property);
        is_plain || is_dotted || self.aliases.contains(&key)
    }

    /// Puts a value into its field. Does nothing for a row without one.
    ///
    /// Returns what a person should know: that a number was raised, or that a zero leaves the default, as it does in
    /// Java.
    ///
    /// # Errors
    /// [`BadValue`] when the number is out of its bounds.
    pub fn apply(&self, settings: &mut Settings, value: &Value) -> Result<Option<String>, BadValue> {
        match (self.setter, value) {
            (Setter::Nothing, _) => Ok(None),
            (Setter::Flag(set), Value::Flag(flag)) => {
                set(settings, *flag);
                Ok(None)
            }
            (Setter::Word(set), Value::Word(word)) => {
                set(settings, word);
                Ok(None)
            }
            (_, Value::Number(0) | Value::Time(Duration::ZERO)) => Ok(self.zero_note()),
            (_, value) => {
                let (number, note) = self.bounded(value)?;
                self.set_number(settings, number)?;
                Ok(note)
            }
        }
    }

    fn zero_note(&self) -> Option<String> {
        let (key, default) = (self.key(), self.java_default);
        (default != "0").then(|| format!("{key} is 0, which leaves the default ({default})"))
    }

    fn bounded(&self, value: &Value) -> Result<(u64, Option<String>), BadValue> {
        let number = value.in_units_of(self.kind);
        match self.bounds {
            Bounds::AtLeast(least) if number < least => {
                Err(BadValue::refused(self, &number.to_string(), format!("must be at least {least}")))
            }
            Bounds::AtMost(most) if number > most => {
                Err(BadValue::refused(self, &number.to_string(), format!("must be at most {most}")))
            }
            Bounds::RaisedTo(least) if number < least => {
                Ok((least, Some(format!("{} is {number}: raised to {least}", self.key()))))
            }
            _ => Ok((number, None)),
        }
    }

    fn set_number(&self, settings: &mut Settings, number: u64) -> Result<(), BadValue> {
        let too_large = || BadValue::ignored(self, &number.to_string(), "is too large".to_owned());
        match self.setter {
            Setter::Time(set) if self.kind == Kind::Seconds => set(settings, Duration::from_secs(number)),
            Setter::Time(set) => set(settings, Duration::from_millis(number)),
            Setter::Count(set) => {
                set(settings, u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or_else(too_large)?);
            }
            Setter::Size(set) => {
                set(settings, usize::try_from(number).ok().and_then(NonZeroUsize::new).ok_or_else(too_large)?);
            }
            Setter::Nothing | Setter::Flag(_) | Setter::Word(_) => {}
        }
        Ok(())
    }
}

/// Fields whose default here is deliberately not the Java one, and what it is instead.
pub const DEVIATIONS: &[(&str, &str)] = &[
    ("idle_time_between_reads", "adapts between 200 ms after records and 1500 ms while the shard is empty"),
    ("shutdown_grace", "30 s in the library; the daemon keeps Java's 0"),
];

/// The prefix that may be written in any case, as in Java.
const CREDENTIALS_PREFIX: &str = "AwsCredentialsProvider";

/// The row of a key. Keys are case-sensitive, except that one which begins with `AwsCredentialsProvider` may write that
/// part in any case.
#[must_use]
pub fn find(key: &str) -> Option<&'static Row> {
    let by = |key: &str| ROWS.iter().find(|row| row.answers_to(key));
    match key.split_at_checked(CREDENTIALS_PREFIX.len()) {
        Some((prefix, suffix)) if prefix.eq_ignore_ascii_case(CREDENTIALS_PREFIX) => {
            by(&format!("{CREDENTIALS_PREFIX}{suffix}"))
        }
        _ => by(key),
    }
}
