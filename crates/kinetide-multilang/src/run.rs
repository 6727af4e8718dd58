//! The daemon: from a properties file to an exit status.
//!
//! ```text
//!   file ─► settings ─► worker built ─► running ─┬─ signal ─► stopping ─► children seen out ─► 128 + signal
//!     │         │            │                   ├─ worker fails, a child fails ─► children seen out ─► 1
//!     └─────────┴────────────┴─► 1               └─ a child is out of time ─► 1, at once
//!
//!   stopping ── another signal, a second or more after the first ─► 128 + signal, at once
//! ```
//! Whatever the way, no child is left behind. Each way to 1 says one sentence on stderr.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kinetide::aws::{AwsSettings, CredentialsSource};
use kinetide::error::chain;
use kinetide::{Clock, Moment, ProcessorFactory, Worker, WorkerError};
use tokio::sync::{Mutex, mpsc};

use crate::bridge::BridgeFactory;
use crate::child::ChildSettings;
use crate::child::nursery::Nursery;
use crate::child::process::Patience;
use crate::properties::DaemonSettings;
use crate::signals::{Signal, Signals};

/// What the command line says. It goes before the file.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The properties file; a relative path starts at the working directory.
    pub properties_file: PathBuf,
    /// The endpoint of every service.
    pub endpoint_url: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The profile credentials come from.
    pub profile: Option<String>,
}

/// Something failed.
const FAILED: u8 = 1;
/// Giving leases back takes a second at most when nobody waits for processors; the worker sees to that.
const STOP_TIME_MAX: Duration = Duration::from_millis(1500);
/// Added to the grace: the last leases are given back after it.
const STOP_TIME_EXTRA: Duration = Duration::from_secs(1);
/// Children that were dropped get SIGTERM after one second and SIGKILL after another half.
const SEE_OUT_TIME_MAX: Duration = Duration::from_secs(3);

/// Signals that come so soon after the first one are the same request: `timeout` and container runtimes send it to the
/// process and to its group.
const SAME_SIGNAL_TIME: Duration = Duration::from_secs(1);

/// Runs the daemon until it is told to end, and returns the exit status of the process.
pub async fn run(options: RunOptions, signals: Signals) -> u8 {
    let daemon = match DaemonSettings::load(&options.properties_file) {
        Ok(daemon) => daemon,
        Err(error) => return fail(&error.to_string()),
    };
    daemon.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let (application, stream, command) = (&daemon.application, &daemon.stream, daemon.command.join(" "));
    tracing::info!("application {application} consumes stream {stream} with '{command}'");

    let (halt, halted) = mpsc::channel(1);
    let supervision = Supervision {
        nursery: Nursery::default(),
        clock: Clock::system(),
        grace: daemon.shutdown_grace,
        halted,
        signals,
    };
    let children = ChildSettings {
        command: daemon.command.clone(),
        timeout: daemon.timeout,
        patience: Patience::DEFAULT,
        patience_when_dropped: Patience::SHORT,
        stderr: Arc::new(Mutex::new(tokio::io::stderr())),
    };
    let factory = BridgeFactory::new(children, supervision.nursery.clone(), supervision.clock.clone(), halt);
    let build = build(daemon, options, factory);
    supervision.run(build).await
}

async fn build(
    daemon: DaemonSettings,
    options: RunOptions,
    factory: BridgeFactory,
) -> Result<Worker<BridgeFactory>, WorkerError> {
    let mut builder = Worker::builder()
        .application(daemon.application.as_str())
        .stream(daemon.stream.as_str())
        .initial_position(daemon.initial_position)
        .settings(daemon.worker.clone());
    if let Some(table) = &daemon.table_name {
        builder = builder.table_name(table);
    }
    if let Some(id) = &daemon.worker_id {
        builder = builder.worker_id(id.as_str());
    }
    builder.aws(aws(daemon, options)).processor(factory).build().await
}

fn aws(daemon: DaemonSettings, options: RunOptions) -> AwsSettings {
    let mut aws = AwsSettings {
        region: options.region.or(daemon.region),
        kinesis_endpoint: daemon.kinesis_endpoint,
        dynamodb_endpoint: daemon.dynamodb_endpoint,
        kinesis_credentials: daemon.kinesis_credentials,
        dynamodb_credentials: daemon.dynamodb_credentials,
        ..AwsSettings::default()
    };
    if let Some(url) = options.endpoint_url {
        aws = AwsSettings { endpoint_url: Some(url), kinesis_endpoint: None, dynamodb_endpoint: None, ..aws };
    }
    if let Some(profile) = options.profile {
        let credentials = vec![CredentialsSource::Profile(Some(profile.clone()))];
        aws = AwsSettings {
            profile: Some(profile),
            kinesis_credentials: credentials,
            dynamodb_credentials: Vec::new(),
            ..aws
        };
    }
    aws
}

/// Watches over a worker and its children.
///
/// The first signal asks the worker to stop; one that comes a second or more later stops at once. Those in between
/// count as the first again, because `timeout` and container runtimes send theirs twice: to the process and to its
/// group.
pub struct Supervision {
    /// The children.
    pub nursery: Nursery,
    /// The daemon's clock.
    pub clock: Clock,
    /// How long a stop waits for processors; zero: they are not asked.
    pub grace: Duration,
    /// Gets the sentence with which the daemon ends at once.
    pub halted: mpsc::Receiver<String>,
    /// What ends the daemon.
    pub signals: Signals,
}

impl Supervision {
    /// Builds the worker and runs it to its end; returns the exit status. No child lives on.
    pub async fn run<F: ProcessorFactory>(mut self, build: impl Future<Output = Result<Worker<F>, WorkerError>>) -> u8 {
        let code = self.watch(build).await;
        self.nursery.kill_all();
        code
    }

    async fn watch<F: ProcessorFactory>(&mut self, build: impl Future<Output = Result<Worker<F>, WorkerError>>) -> u8 {
        // A signal goes before everything: it must not wait for credentials, say.
        let worker = tokio::select! {
            biased;
            signal = self.signals.next() => return signal.exit_code(),
            worker = build => match worker {
                Ok(worker) => worker,
                Err(error) => return fail(&chain(&error)),
            },
        };
        tracing::info!("worker {}", worker.id());
        let handle = worker.handle();
        let mut running = std::pin::pin!(worker.run());
        // A halt goes before the worker's end, which it also causes; a signal before that end, for its exit status.
        let signal = tokio::select! {
            biased;
            Some(sentence) = self.halted.recv() => return fail(&sentence),
            signal = self.signals.next() => signal,
            result = &mut running => return self.conclude(result).await,
        };
        let limit = self.ask_to_stop(signal, &handle);
        self.wait_for_stop(signal, limit, &mut running).await
    }

    /// Asks the worker to stop, and says how long that may take.
    fn ask_to_stop(&self, signal: Signal, handle: &kinetide::WorkerHandle) -> Duration {
        let grace = self.grace.as_millis();
        if self.grace.is_zero() {
            tracing::info!(
                "{signal}: stopping at once, because shutdownGraceMillis is 0; \
                 5000 would let the processors checkpoint first"
            );
            handle.stop();
            STOP_TIME_MAX
        } else {
            tracing::info!("{signal}: stopping, processors have {grace} ms; another signal stops at once");
            handle.shutdown();
            self.grace + STOP_TIME_EXTRA
        }
    }

    async fn wait_for_stop(
        &mut self,
        signal: Signal,
        limit: Duration,
        running: impl Future<Output = Result<(), WorkerError>>,
    ) -> u8 {
        let (clock, nursery) = (self.clock.clone(), self.nursery.clone());
        let asked = clock.monotonic();
        let stopped = async {
            match clock.timeout(limit, running).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("{}", chain(&error)),
                Err(_) => tracing::warn!("the worker did not stop within {} ms", limit.as_millis()),
            }
            see_out(&nursery, &clock).await;
        };
        tokio::select! {
            biased;
            Some(sentence) = self.halted.recv() => fail(&sentence),
            second = another(&mut self.signals, &self.clock, asked) => second.exit_code(),
            () = stopped => signal.exit_code(),
        }
    }

    /// The worker ended by itself. That it gave up is a failure, unlike in Java, which returns 0 then.
    async fn conclude(&mut self, result: Result<(), WorkerError>) -> u8 {
        let code = match result {
            Ok(()) => 0,
            Err(error) => fail(&chain(&error)),
        };
        tokio::select! {
            biased;
            _ = self.signals.next() => {}
            () = see_out(&self.nursery, &self.clock) => {}
        }
        code
    }
}

/// The next signal that is not the first one again.
async fn another(signals: &mut Signals, clock: &Clock, first: Moment) -> Signal {
    loop {
        let signal = signals.next().await;
        if clock.monotonic().since(first) >= SAME_SIGNAL_TIME {
            return signal;
        }
        tracing::debug!("{signal} came within a second of the first signal: it counts as the same");
    }
}

async fn see_out(nursery: &Nursery, clock: &Clock) {
    if clock.timeout(SEE_OUT_TIME_MAX, nursery.all_seen_out()).await.is_err() {
        tracing::warn!("{} children did not end in time and are killed", nursery.len());
    }
}

fn fail(sentence: &str) -> u8 {
    // Nobody may be reading any more, and that must not become a panic.
    let _ = writeln!(std::io::stderr(), "kinetide: {sentence}");
    FAILED
}
