//! Names: of streams, shards and workers. Each is a cheap clone of validated text.

use std::fmt;
use std::sync::Arc;

/// Why a name was refused: what it names, the value at fault, and the rule it broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} '{value}': {rule}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Validates a ", $what, ": ", $rule, ".")]
            ///
            /// # Errors
            /// [`InvalidName`] names the value and the rule.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidName> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { what: $what, value: text.to_string(), rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

name_type!(
    /// The name of a Kinesis stream.
    StreamName,
    "stream name",
    "1 to 128 letters, digits, '_', '.' or '-'",
    |text| (1..=128).contains(&text.len()) && is_word(text)
);

name_type!(
    /// The id of a shard within its stream, such as `shardId-000000000003`.
    ShardId,
    "shard id",
    "1 to 128 letters, digits, '_', '.' or '-'",
    |text| (1..=128).contains(&text.len()) && is_word(text)
);

name_type!(
    /// The name of a lease table.
    TableName,
    "lease table name",
    "3 to 255 letters, digits, '_', '.' or '-'",
    |text| (3..=255).contains(&text.len()) && is_word(text)
);

name_type!(
    /// The id by which a worker owns leases; unique in the fleet.
    ///
    /// It shares the key space of the lease table with shard ids and the names of coordinator items, so it must not look like one.
    WorkerId,
    "worker id",
    "1 to 1024 bytes, and not the key of a coordinator item",
    |text| (1..=1024).contains(&text.len()) && !matches!(text, "Leader" | "Migration3.0" | "TableMigration3.5")
);

/// A stream among many: its account, its name, and when it was made, in seconds since 1970.
///
/// Written `account:name:epoch`, as in the keys of leases of an application that reads many streams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The account, in digits.
    pub account: Arc<str>,
    /// The name.
    pub name: StreamName,
    /// When it was made: one that is deleted and made anew is another stream.
    pub epoch: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.account, self.name, self.epoch)
    }
}

impl std::str::FromStr for StreamId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let rule = "account:name:epoch, with digits for the account and a positive number for the epoch";
        let invalid = || InvalidName { what: "stream identifier", value: text.to_owned(), rule };
        let mut parts = text.split(':');
        let (account, name, epoch) = (parts.next(), parts.next(), parts.next());
        let (Some(account), Some(name), Some(epoch), None) = (account, name, epoch, parts.next()) else {
            return Err(invalid());
        };
        let is_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
        let epoch = epoch.parse().ok().filter(|epoch| *epoch > 0 && is_account).ok_or_else(invalid)?;
        Ok(Self { account: account.into(), name: StreamName::new(name)?, epoch })
    }
}

/// The id Kinesis gives to the shard made after `index` others.
pub(crate) fn shard_of_index(index: usize) -> ShardId {
    ShardId(format!("shardId-{index:012}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_wrong() {
        assert_eq!(StreamName::new("orders").unwrap().as_str(), "orders");
        let error = StreamName::new("or ders").unwrap_err().to_string();
        assert_eq!(error, "invalid stream name 'or ders': 1 to 128 letters, digits, '_', '.' or '-'");
        assert!(ShardId::new("").is_err());
        assert!(WorkerId::new("Leader").is_err());
        assert!(WorkerId::new("host/1:b").is_ok());
    }
}
