//! The command line: what can be typed, and what it says about itself.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kinetide::aws::{AwsSettings, CredentialsSource};
use kinetide_local::StreamSpec;

/// The Kinesis Client Library, native: run consumers, serve Kinesis and DynamoDB locally, put and read records
#[derive(Debug, Parser)]
#[command(name = "kinetide", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Endpoint of Kinesis and DynamoDB, instead of AWS; AWS_ENDPOINT_URL works too
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// AWS region
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// Profile in the shared AWS configuration files
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Standard output for people (table; records as their bare data) or for programs (json; an object a line)
    #[arg(long, global = true, default_value = "table", value_name = "table|json", hide_possible_values = true)]
    pub output: Output,
    /// Log level (error, warn, info, debug, trace) or a filter such as `kinetide=debug`; RUST_LOG works too
    #[arg(long, global = true, value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<String>,
}

/// A level, or a filter: a bare word that is no level would be taken for a module's name and silence everything.
fn log_level(text: &str) -> Result<String, String> {
    let is_level = ["off", "error", "warn", "info", "debug", "trace"].contains(&text.to_ascii_lowercase().as_str());
    if is_level || text.contains('=') {
        return Ok(text.to_owned());
    }
    Err("give error, warn, info, debug, trace, or a filter such as kinetide=debug".to_owned())
}

/// Form of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

impl Global {
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// How AWS is reached.
    pub(crate) fn aws(&self) -> AwsSettings {
        AwsSettings {
            region: self.region.clone(),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint_url.clone(),
            ..AwsSettings::default()
        }
    }
}

/// How a local endpoint is reached: it checks no credentials, but every client wants some.
pub(crate) fn local_aws(endpoint_url: String) -> AwsSettings {
    let credentials = CredentialsSource::Static { access_key_id: "local".into(), secret_access_key: "local".into() };
    AwsSettings {
        region: Some("us-east-1".into()),
        endpoint_url: Some(endpoint_url),
        kinesis_credentials: vec![credentials],
        ..AwsSettings::default()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole job in a minute, with no account: produce, consume with three workers, split, merge, kill, audit
    Demo(DemoArgs),
    /// Serve Kinesis and DynamoDB on a loopback port
    Local(LocalArgs),
    /// Run a record processor in any language: the MultiLangDaemon, without a JVM
    Run(RunArgs),
    /// Put lines into a stream
    Put(PutArgs),
    /// Print the records of a stream, without leases or checkpoints
    Tail(TailArgs),
    /// Print the records of a stream as a worker: with leases, and checkpoints after what was written
    Consume(ConsumeArgs),
}

impl Command {
    /// The log level when none is given.
    pub(crate) fn log_level_default(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Local(_) => "info",
            Self::Demo(_) => "error",
            _ => "warn",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Records to produce
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(10_000..=5_000_000))]
    pub records: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = kinetide_local::PORT_DEFAULT)]
    pub port: u16,
    /// Stream to create if it is missing, with its number of shards; may be repeated
    #[arg(long = "stream", value_name = "NAME[:SHARDS]")]
    pub streams: Vec<StreamSpec>,
    /// Keep streams, records and tables in this directory; without it they are gone at the end
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Refuse what Kinesis would refuse: 1,000 records/s and 1 MB/s in, 5 reads/s and 2 MB/s out, per shard
    #[arg(long)]
    pub enforce_limits: bool,
    /// Take as long as AWS where that matters: tables 8 s, indexes 60 s, stream consumers 5 s
    #[arg(long)]
    pub aws_timing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Properties file, as the MultiLangDaemon reads it
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The same, as the MultiLangDaemon's option
    #[arg(short, long, value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// Stream
    pub stream: String,
    /// Files whose lines become records; standard input if there are none
    pub files: Vec<PathBuf>,
    /// Partition key of each record: `random`, or the name of a field of its JSON object
    #[arg(long, default_value = "random", value_name = "random|FIELD")]
    pub partition_key: String,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Stream
    pub stream: String,
    /// Where to start: latest, trim-horizon, a time (2026-01-31T12:00:00Z), an age (15m), or a sequence number (with --shard)
    #[arg(long, default_value = "latest", value_name = "POSITION")]
    pub from: String,
    /// Only this shard
    #[arg(long, value_name = "SHARD")]
    pub shard: Option<String>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Stop when everything that is there has been printed
    #[arg(long)]
    pub no_follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// Stream
    pub stream: String,
    /// Application: workers of one application share the shards; also the lease table's name
    #[arg(long, short)]
    pub application: String,
    /// Where shards without a checkpoint start: latest, trim-horizon, a time, or an age
    #[arg(long, default_value = "trim-horizon", value_name = "POSITION")]
    pub from: String,
    /// Id of this worker; random by default
    #[arg(long, value_name = "ID")]
    pub worker_id: Option<String>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
