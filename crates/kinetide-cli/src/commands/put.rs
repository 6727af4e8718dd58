//! `kinetide put`: lines into a stream.
//!
//! One PutRecords call at a time, so that lines with the same key keep their order; what the service refuses for now is
//! put again before anything that follows.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use kinetide::aws::{Aws, KinesisStream, PutEntry, PutOutcome};
use kinetide::retry::Backoff;
use kinetide::stream::StreamName;
use kinetide::{Clock, Rng};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use crate::args::{Global, PutArgs};
use crate::output;

const ENTRIES_MAX: usize = 500;
const CALL_BYTES_MAX: usize = 5 << 20;
/// A record and its key may have 10 MiB together.
const RECORD_BYTES_MAX: usize = 10 << 20;
/// Calls in a row that store nothing before it gives up.
const ATTEMPTS_MAX: u32 = 8;
/// How long a half-full call waits for more lines.
const LINGER: Duration = Duration::from_millis(100);

pub(crate) async fn run(global: &Global, args: &PutArgs) -> anyhow::Result<ExitCode> {
    let aws = Aws::load(&global.aws()).await?;
    let stream = KinesisStream::new(&aws, StreamName::new(args.stream.as_str())?);
    let mut putter = Putter::new(stream, &args.partition_key);
    if args.files.is_empty() {
        putter.put_lines("standard input", BufReader::new(tokio::io::stdin())).await?;
    }
    for path in &args.files {
        let file = tokio::fs::File::open(path).await.with_context(|| format!("cannot open {}", path.display()))?;
        putter.put_lines(&path.display().to_string(), BufReader::with_capacity(1 << 20, file)).await?;
    }
    putter.finish(global)?;
    Ok(ExitCode::SUCCESS)
}

struct Putter {
    stream: KinesisStream,
    key_field: Option<String>,
    clock: Clock,
    rng: Rng,
    entries: Vec<PutEntry>,
    bytes: usize,
    records_put: u64,
    bytes_put: u64,
    started: kinetide::Moment,
    progress: ProgressBar,
}

impl Putter {
    fn new(stream: KinesisStream, partition_key: &str) -> Self {
        let clock = Clock::system();
        let style = ProgressStyle::with_template("{spinner} {pos} records, {per_sec}, {elapsed}{msg}");
        let progress =
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self {
            stream,
            key_field: (partition_key != "random").then(|| partition_key.to_owned()),
            started: clock.monotonic(),
            clock,
            rng: Rng::system(),
            entries: Vec::new(),
            bytes: 0,
            records_put: 0,
            bytes_put: 0,
            progress,
        }
    }

    async fn put_lines(&mut self, name: &str, mut lines: impl AsyncBufRead + Unpin) -> anyhow::Result<()> {
        let mut line = Vec::new();
        for number in 1u64.. {
            // A pipe that pauses must not hold back what it has given; what was read of a line stays in the buffer.
            let more = {
                let mut read = std::pin::pin!(read_line(&mut lines, &mut line));
                match self.clock.timeout(LINGER, read.as_mut()).await {
                    Ok(more) => more,
                    Err(_) => {
                        self.flush().await?;
                        read.await
                    }
                }
            };
            let added = match more {
                Ok(true) => self.add(std::mem::take(&mut line)).await,
                Ok(false) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = added {
                // The lines before the bad one are not lost with it.
                self.flush().await?;
                let stored = self.records_put;
                return Err(error.context(format!("line {number} of {name}, after {stored} records were stored")));
            }
        }
        self.flush().await
    }

    async fn add(&mut self, data: Vec<u8>) -> anyhow::Result<()> {
        let partition_key = match &self.key_field {
            None => format!("{:016x}", self.rng.bits()),
            Some(field) => key_from(&data, field)?,
        };
        let bytes = data.len() + partition_key.len();
        if self.entries.len() == ENTRIES_MAX || self.bytes + bytes > CALL_BYTES_MAX {
            self.flush().await?;
        }
        self.bytes += bytes;
        self.entries.push(PutEntry { partition_key, data: Bytes::from(data) });
        Ok(())
    }

    /// Puts what has gathered, again and again until every record is stored.
    async fn flush(&mut self) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut failures = 0;
        self.bytes = 0;
        while !self.entries.is_empty() {
            let before = self.entries.len();
            let problem = match self.stream.put_records(&self.entries).await {
                Ok(outcomes) => self.keep_failed(&outcomes),
                Err(error) if error.is_retryable() => Some(error.to_string()),
                Err(error) => return Err(self.give_up(&error.to_string())),
            };
            let Some(problem) = problem else { continue };
            failures = if self.entries.len() < before { 0 } else { failures + 1 };
            if failures == ATTEMPTS_MAX {
                return Err(self.give_up(&problem));
            }
            let wait = backoff.next(&mut self.rng);
            tracing::debug!("{} records are put again in {} ms: {problem}", self.entries.len(), wait.as_millis());
            self.progress.set_message(format!(", waiting: {problem}"));
            self.clock.sleep(wait).await;
        }
        self.progress.set_message("");
        Ok(())
    }

    /// The error that ends it, with what a second run would put again.
    fn give_up(&self, problem: &str) -> anyhow::Error {
        anyhow!("cannot put into stream '{}': {problem}; {} records are stored", self.name(), self.records_put)
    }

    fn name(&self) -> String {
        use kinetide::stream::StreamSource;
        self.stream.stream().to_string()
    }

    /// Keeps the records that were not stored, in order; says why the first was not.
    fn keep_failed(&mut self, outcomes: &[PutOutcome]) -> Option<String> {
        let mut problem = None;
        let mut outcomes = outcomes.iter();
        let (mut records, mut bytes) = (0, 0);
        self.entries.retain(|entry| match outcomes.next() {
            Some(PutOutcome::Failed { code, message }) => {
                problem.get_or_insert_with(|| format!("{code}: {message}"));
                true
            }
            _ => {
                (records, bytes) = (records + 1, bytes + entry.data.len() as u64);
                false
            }
        });
        self.records_put += records;
        self.bytes_put += bytes;
        self.progress.inc(records);
        problem
    }

    fn finish(&self, global: &Global) -> std::io::Result<()> {
        self.progress.finish_and_clear();
        let seconds = self.clock.monotonic().since(self.started).as_secs_f64();
        let (records, bytes, rate) = (self.records_put, self.bytes_put, self.records_put as f64 / seconds.max(0.001));
        if global.is_json() {
            let rate = rate.round();
            let result = serde_json::json!({
                "records": records, "bytes": bytes, "seconds": seconds, "records_per_s": rate,
            });
            return output::print(&result.to_string());
        }
        output::tell(&format!("put {records} records, {bytes} bytes, in {seconds:.1} s: {rate:.0} records/s"));
        Ok(())
    }
}

/// Reads a line without its end into the buffer; false at the end of the input.
async fn read_line(lines: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> anyhow::Result<bool> {
    use tokio::io::AsyncReadExt;
    let read = lines.take(RECORD_BYTES_MAX as u64 + 2).read_until(b'\n', line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > RECORD_BYTES_MAX {
        bail!("the line is longer than the 10 MiB a record may have");
    }
    Ok(read > 0)
}

/// The partition key from a field of the record's JSON object.
fn key_from(data: &[u8], field: &str) -> anyhow::Result<String> {
    let value: serde_json::Value = serde_json::from_slice(data).context("not a JSON object")?;
    let key = match value.get(field) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => bail!("no field '{field}'"),
        Some(other) => other.to_string(),
    };
    // Kinesis counts characters.
    if key.is_empty() || key.chars().count() > 256 {
        bail!("field '{field}' cannot be a partition key: it must have 1 to 256 characters");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_field() {
        assert_eq!(key_from(br#"{"id":"a"}"#, "id").unwrap(), "a");
        assert_eq!(key_from(br#"{"id":42}"#, "id").unwrap(), "42");
        assert_eq!(key_from(br#"{"id":null}"#, "id").unwrap_err().to_string(), "no field 'id'");
        assert_eq!(key_from(b"text", "id").unwrap_err().to_string(), "not a JSON object");
        assert!(key_from(br#"{"id":""}"#, "id").is_err());
    }

    #[tokio::test]
    async fn lines_lose_their_ends_and_nothing_else() {
        let mut input = &b"one\r\n\ntwo \nlast"[..];
        let mut lines = Vec::new();
        let mut line = Vec::new();
        while read_line(&mut input, &mut line).await.unwrap() {
            lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
        }
        assert_eq!(lines, ["one", "", "two ", "last"]);
    }
}
