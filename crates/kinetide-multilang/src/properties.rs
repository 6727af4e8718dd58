//! The `.properties` file of the Java daemon, as a value: [`DaemonSettings`].
//!
//! It is not for building a worker, and it knows no key by itself: keys, units and bounds are
//! [`kinetide::settings::table`]'s. What Java would refuse is refused, in Java's order; what Java would swallow is a
//! warning.
//!
//! Invariants: credentials are never shown; of a key given twice the last value in the file counts; a file with one bad
//! number still starts, with the default.

mod credentials;
mod entries;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinetide::Settings;
use kinetide::aws::CredentialsSource;
use kinetide::settings::table::{self, BadValue, Row, Status, Value};
use kinetide::stream::{InitialPosition, StreamName, Timestamp, WorkerId};

use entries::Entry;
pub use entries::Malformed;

/// What a properties file says, and what should be said about it.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// The child's program and its arguments; never empty.
    pub command: Vec<String>,
    /// The application's name.
    pub application: String,
    /// The stream.
    pub stream: StreamName,
    /// The lease table, if it is not named like the application.
    pub table_name: Option<String>,
    /// The worker's id, if it is not to be random.
    pub worker_id: Option<WorkerId>,
    /// Where credentials come from.
    pub kinesis_credentials: Vec<CredentialsSource>,
    /// Where those for DynamoDB come from; empty: as for Kinesis.
    pub dynamodb_credentials: Vec<CredentialsSource>,
    /// The region.
    pub region: Option<String>,
    /// The address of Kinesis.
    pub kinesis_endpoint: Option<String>,
    /// The address of DynamoDB.
    pub dynamodb_endpoint: Option<String>,
    /// Where shards without a checkpoint start.
    pub initial_position: InitialPosition,
    /// How long a child may be silent while it owes an answer.
    pub timeout: Option<Duration>,
    /// How long a stop waits for the processors; zero: they are not asked.
    pub shutdown_grace: Duration,
    /// The worker's own settings.
    pub worker: Settings,
    /// What a person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a file cannot be used. One sentence each, with key and value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read properties file '{}': {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no properties file.
    #[error("properties file '{}' is malformed: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Malformed,
    },
    /// A key that must be there is not, or is blank.
    #[error("{key} is missing: {hint}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// A value that cannot be used.
    #[error(transparent)]
    Value(#[from] BadValue),
    /// A value that cannot be used, for a reason of the daemon's own.
    #[error("{key} is '{value}', {fault}")]
    Refused {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        fault: String,
    },
    /// No credentials provider of the list can be used.
    #[error("{key} names no credentials provider that can be used here: {reasons}")]
    Credentials {
        /// The key.
        key: &'static str,
        /// Which were named and why they do not do.
        reasons: String,
    },
}

impl DaemonSettings {
    /// Reads a file; a relative path starts at the working directory.
    ///
    /// # Errors
    /// [`PropertiesError`], the first one in the order in which the Java daemon checks.
    pub fn load(path: &Path) -> Result<Self, PropertiesError> {
        let unreadable = |error| PropertiesError::Unreadable { path: path.to_owned(), error };
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let malformed = |error| PropertiesError::Malformed { path: path.to_owned(), error };
        Self::from_entries(&entries::read(&bytes).map_err(malformed)?)
    }

    fn from_entries(entries: &[Entry]) -> Result<Self, PropertiesError> {
        let mut reader = Reader::new(entries);
        // Java looks for the command before it reads any other value.
        let command = reader.command()?;
        reader.convert()?;
        let application = reader
            .required_text("applicationName", "name the application, for example applicationName = orders-app")?;
        let stream = reader.stream()?;
        let kinesis_credentials = reader.credentials("AwsCredentialsProvider")?;
        if kinesis_credentials.is_empty() {
            let hint =
                "say where credentials come from, for example AwsCredentialsProvider = DefaultCredentialsProvider";
            return Err(PropertiesError::Missing { key: "AwsCredentialsProvider", hint });
        }
        reader.check_retrieval()?;
        Ok(Self {
            command,
            application,
            stream,
            table_name: reader.text("tableName"),
            worker_id: reader.worker_id()?,
            kinesis_credentials,
            dynamodb_credentials: reader.credentials("AwsCredentialsProviderDynamoDB")?,
            region: reader.text("regionName"),
            kinesis_endpoint: reader.text("kinesisEndpoint"),
            dynamodb_endpoint: reader.text("dynamoDBEndpoint"),
            initial_position: reader.initial_position(),
            timeout: reader.timeout(),
            shutdown_grace: reader.time("shutdownGraceMillis").unwrap_or_default(),
            worker: reader.settings,
            warnings: reader.warnings,
        })
    }
}

/// The values of the file by property, each with its place in the file.
struct Reader<'a> {
    entries: Vec<(usize, &'static Row, &'a Entry)>,
    values: HashMap<&'static str, (usize, Value)>,
    settings: Settings,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let mut reader =
            Self { entries: Vec::new(), values: HashMap::new(), settings: Settings::default(), warnings: Vec::new() };
        for (place, entry) in entries.iter().enumerate() {
            match table::find(&entry.key) {
                Some(row) => reader.accept(place, row, entry),
                None => reader.warnings.push(unknown(&entry.key)),
            }
        }
        reader
    }

    fn accept(&mut self, place: usize, row: &'static Row, entry: &'a Entry) {
        let earlier = self.entries.iter_mut().find(|(_, known, _)| std::ptr::eq(*known, row));
        let Some(earlier) = earlier else { return self.entries.push((place, row, entry)) };
        let (before, after) = (earlier.2, entry);
        *earlier = (place, row, entry);
        if before.value.trim() != after.value.trim() {
            let (first, second, key) = (before.line, after.line, &after.key);
            let conflict = match before.key == after.key {
                true => format!("{key} is given twice, in lines {first} and {second}: the last one counts"),
                false => format!(
                    "{} in line {first} and {key} in line {second} mean the same: the last one counts",
                    before.key
                ),
            };
            self.warnings.push(conflict);
        }
    }

    /// The command, split at blanks: no quoting, no shell, and a tab is part of a word, as in Java.
    fn command(&self) -> Result<Vec<String>, PropertiesError> {
        let entry = self.entries.iter().find(|(_, row, _)| row.property == "executableName");
        let text = entry.map_or("", |(_, _, entry)| entry.value.as_str());
        let words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match words.is_empty() {
            false => Ok(words),
            true => {
                let hint = "give the command of the record processor, for example executableName = sample_app.py";
                Err(PropertiesError::Missing { key: "executableName", hint })
            }
        }
    }

    /// Turns every text into a value, and applies those that are worker settings.
    fn convert(&mut self) -> Result<(), PropertiesError> {
        for (place, row, entry) in std::mem::take(&mut self.entries) {
            match row.status {
                Status::Active => self.convert_one(place, row, entry)?,
                Status::Inert(why) => self.warnings.push(format!("{} has no effect: {why}", entry.key)),
                Status::Planned(part) => {
                    self.warnings.push(format!("{} has no effect yet: it waits for {part}", entry.key));
                }
            }
        }
        Ok(())
    }

    fn convert_one(&mut self, place: usize, row: &'static Row, entry: &Entry) -> Result<(), PropertiesError> {
        let applied = row.parse(&entry.value).and_then(|value| Ok((row.apply(&mut self.settings, &value)?, value)));
        match applied {
            Ok((note, value)) => {
                self.warnings.extend(note);
                self.values.insert(row.property, (place, value));
            }
            Err(bad) if bad.is_refused => return Err(bad.into()),
            Err(bad) => self.warnings.push(bad.to_string()),
        }
        Ok(())
    }

    fn value(&self, property: &'static str) -> Option<&Value> {
        self.values.get(property).map(|(_, value)| value)
    }

    /// A text that is not blank.
    fn text(&self, property: &'static str) -> Option<String> {
        match self.value(property) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn time(&self, property: &'static str) -> Option<Duration> {
        match self.value(property) {
            Some(Value::Time(time)) => Some(*time),
            _ => None,
        }
    }

    fn required_text(&self, key: &'static str, hint: &'static str) -> Result<String, PropertiesError> {
        self.text(key).ok_or(PropertiesError::Missing { key, hint })
    }

    /// The name in the ARN, or else the name.
    fn stream(&mut self) -> Result<StreamName, PropertiesError> {
        let (key, name) = match self.text("streamArn") {
            Some(arn) => ("streamArn", self.stream_of_arn(&arn)?),
            None => ("streamName", self.required_text("streamName", "name the stream, or give its streamArn")?),
        };
        StreamName::new(name.as_str()).map_err(|error| PropertiesError::Refused {
            key,
            value: name,
            fault: format!("which is no stream: {error}"),
        })
    }

    fn stream_of_arn(&mut self, arn: &str) -> Result<String, PropertiesError> {
        let Some((region, name)) = parts_of_arn(arn) else {
            let fault = "which is not of the form arn:aws:kinesis:<region>:<account>:stream/<name>".to_owned();
            return Err(PropertiesError::Refused { key: "streamArn", value: arn.to_owned(), fault });
        };
        match self.text("regionName") {
            Some(chosen) if chosen != region => self.warnings.push(format!(
                "streamArn is in {region} and regionName is {chosen}: \
                 only the name in the ARN counts, so {chosen} is used"
            )),
            _ => {}
        }
        match self.text("streamName") {
            Some(other) if other != name => {
                self.warnings.push(format!("streamName is '{other}' and streamArn names '{name}': the ARN counts"));
            }
            _ => {}
        }
        Ok(name.to_owned())
    }

    fn worker_id(&mut self) -> Result<Option<WorkerId>, PropertiesError> {
        let Some(id) = self.text("workerId") else {
            if self.value("workerId").is_some() {
                self.warnings.push("workerId is empty: a random one is used".to_owned());
            }
            return Ok(None);
        };
        let refused = |error| PropertiesError::Refused {
            key: "workerId",
            value: id.clone(),
            fault: format!("which is not usable: {error}"),
        };
        WorkerId::new(id.as_str()).map(Some).map_err(refused)
    }

    /// Empty if the key is not there.
    fn credentials(&mut self, key: &'static str) -> Result<Vec<CredentialsSource>, PropertiesError> {
        let Some(text) = self.text(key) else { return Ok(Vec::new()) };
        let named = credentials::sources(&text);
        if named.sources.is_empty() {
            return Err(PropertiesError::Credentials { key, reasons: named.problems.join("; ") });
        }
        self.warnings.extend(named.problems.into_iter().chain(named.notes).map(|note| format!("{key}: {note}")));
        Ok(named.sources)
    }

    /// The later of the two keys in the file.
    fn initial_position(&mut self) -> InitialPosition {
        let (word, stamp) =
            (self.values.get("initialPositionInStream"), self.values.get("initialPositionInStreamExtended"));
        let (is_horizon, word_place) = match word {
            Some((place, Value::Word(word))) => (*word == "TRIM_HORIZON", Some(*place)),
            _ => (false, None),
        };
        let plain = if is_horizon { InitialPosition::TrimHorizon } else { InitialPosition::Latest };
        let Some((place, Value::EpochSeconds(seconds))) = stamp else { return plain };
        let at = InitialPosition::AtTimestamp(Timestamp::from_millis(seconds.saturating_mul(1000)));
        let Some(word_place) = word_place else { return at };
        let (wins, position) = if word_place > *place {
            ("initialPositionInStream", plain)
        } else {
            ("initialPositionInStreamExtended", at)
        };
        self.warnings.push(format!("two initial positions are given: {wins}, the last one, counts"));
        position
    }

    /// Java takes 0 as a limit that is over at once, which nobody can want.
    fn timeout(&mut self) -> Option<Duration> {
        let timeout = self.time("timeoutInSeconds")?;
        if timeout.is_zero() {
            self.warnings.push("timeoutInSeconds is 0, which is no limit: it is ignored".to_owned());
            return None;
        }
        Some(timeout)
    }

    fn check_retrieval(&mut self) -> Result<(), PropertiesError> {
        match self.value("retrievalMode") {
            Some(Value::Word("FANOUT")) => {
                let fault = "which this version cannot do: enhanced fan-out is not built yet; write POLLING".to_owned();
                Err(PropertiesError::Refused { key: "retrievalMode", value: "FANOUT".to_owned(), fault })
            }
            Some(Value::Word("POLLING")) => Ok(()),
            _ => {
                let note = "retrievalMode is DEFAULT: records are polled, because enhanced fan-out is not built yet";
                self.warnings.push(note.to_owned());
                Ok(())
            }
        }
    }
}

fn unknown(key: &str) -> String {
    match table::nearest(key) {
        Some(known) => format!("unknown key '{key}' is ignored; did you mean '{known}'?"),
        None => format!("unknown key '{key}' is ignored"),
    }
}

/// Region and stream name of `arn:aws*:kinesis:<region>:<12 digits>:stream/<name>`. The ARN of a consumer counts as its
/// stream's.
fn parts_of_arn(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = scheme == "arn" && partition.starts_with("aws") && service == "kinesis" && is_account;
    let name = resource.strip_prefix("stream/")?.split('/').next()?;
    (is_ours && !region.is_empty() && !name.is_empty()).then_some((region, name))
}
