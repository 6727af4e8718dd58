//! Captures every metric of this worker at its pace, for whoever reports them.
//!
//! ```text
//! start ─ up to 1 s ─► capture ─ 1 s ─► capture ─ 1 s ─► …        (Collector::run)
//! start ─ 2 s ───────────────► drain ─ 30 s ─► drain ─ 30 s ─► …  (whoever writes the item)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::capture::{CaptureError, Gauge};
use super::item::MetricName;
use super::series::Series;
use crate::clock::Clock;
use crate::event::{Event, Events};
use crate::rng::Rng;

/// How often this worker looks at itself and tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one capture to the next. Default 1 s.
    pub capture: Duration,
    /// From the start to the first report. Default 2 s, so that there is something to tell.
    pub first_report: Duration,
    /// From one report to the next; a worker that was silent for two of them gets no lease. Default 30 s.
    pub report: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { capture: Duration::from_secs(1), first_report: Duration::from_secs(2), report: Duration::from_secs(30) }
    }
}

/// The series of every metric; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Averages(Arc<Mutex<BTreeMap<MetricName, Series>>>);

impl Averages {
    /// Ends the interval under way, of every metric at once. Each call is one interval: only one reporter may do so.
    #[must_use]
    pub fn drain(&self) -> BTreeMap<MetricName, Vec<f64>> {
        self.lock().iter_mut().map(|(metric, series)| (metric.clone(), series.drain())).collect()
    }

    fn note(&self, metric: &str, value: f64) -> Result<(), CaptureError> {
        self.lock().entry(metric.to_owned()).or_default().note(metric, value)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MetricName, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Captures. With no gauges it does nothing, and there are no metrics, which a report may well say.
pub struct Collector {
    gauges: Vec<Box<dyn Gauge>>,
    averages: Averages,
    interval: Duration,
    clock: Clock,
    rng: Rng,
    events: Events,
    /// Those whose last look failed.
    failing: BTreeSet<&'static str>,
}

impl Collector {
    /// A collector, and where to find what it collects.
    #[must_use]
    pub fn new(gauges: Vec<Box<dyn Gauge>>, pace: Pace, clock: Clock, rng: Rng, events: Events) -> (Self, Averages) {
        // A metric that never works must be in the report too: as not captured, not as absent.
        let series = gauges.iter().map(|gauge| (gauge.metric().to_owned(), Series::default())).collect();
        let averages = Averages(Arc::new(Mutex::new(series)));
        let (interval, failing) = (pace.capture, BTreeSet::new());
        (Self { gauges, averages: averages.clone(), interval, clock, rng, events, failing }, averages)
    }

    /// Runs until it is dropped. The first capture comes at a random moment, so that workers started together do not
    /// ask the same endpoint at once.
    pub async fn run(mut self) {
        if self.gauges.is_empty() {
            return std::future::pending().await;
        }
        self.clock.sleep(self.rng.duration_to(self.interval)).await;
        loop {
            self.capture().await;
            self.clock.sleep(self.interval).await;
        }
    }

    async fn capture(&mut self) {
        for gauge in &mut self.gauges {
            let metric = gauge.metric();
            let value = gauge.capture(self.clock.monotonic()).await;
            let Err(error) = value.and_then(|value| self.averages.note(metric, value)) else {
                self.failing.remove(metric);
                continue;
            };
            // Once, not every second.
            if self.failing.insert(metric) {
                let (what, retry_in) = ("capture of a worker metric", self.interval);
                self.events.emit(Event::CallFailed { what, error: format!("{metric}: {error}"), retry_in });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::super::capture::CPU;
    use super::*;
    use crate::clock::Moment;

    /// Says one value after the other, the last one for ever, and when it was asked.
    struct Script {
        values: Vec<Result<f64, CaptureError>>,
        asked: Arc<Mutex<Vec<Moment>>>,
    }

    #[async_trait]
    impl Gauge for Script {
        fn metric(&self) -> &'static str {
            CPU
        }

        async fn capture(&mut self, now: Moment) -> Result<f64, CaptureError> {
            self.asked.lock().unwrap().push(now);
            if self.values.len() > 1 { self.values.remove(0) } else { self.values[0].clone() }
        }
    }

    struct Run {
        averages: Averages,
        asked: Arc<Mutex<Vec<Moment>>>,
        told: Arc<Mutex<Vec<String>>>,
    }

    async fn run(values: Vec<Result<f64, CaptureError>>, seconds: u64) -> Run {
        let (asked, told) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let sink = told.clone();
        let events = Events::to(Some(Arc::new(move |event: &Event| sink.lock().unwrap().push(event.to_string()))));
        let gauge = Script { values, asked: asked.clone() };
        let clock = Clock::system();
        let (collector, averages) =
            Collector::new(vec![Box::new(gauge)], Pace::default(), clock.clone(), Rng::seeded(1), events);
        assert!(clock.timeout(Duration::from_secs(seconds), collector.run()).await.is_err(), "it ended by itself");
        Run { averages, asked, told }
    }

    fn failure() -> Result<f64, CaptureError> {
        Err(CaptureError::unreadable("/proc/stat", "gone"))
    }

    #[tokio::test(start_paused = true)]
    async fn captures_come_every_second_from_a_random_moment_on() {
        let run = run(vec![Ok(0.0), Ok(30.0)], 10).await;
        let asked = run.asked.lock().unwrap();
        let start = Moment::at(Duration::ZERO);
        let first = asked[0].since(start);
        assert!(first > Duration::ZERO && first < Duration::from_secs(1), "{first:?}");
        assert_eq!(asked.len(), 10);
        assert!(asked.windows(2).all(|pair| pair[1].since(pair[0]).as_millis() == 1_000), "{asked:?}");
        assert_eq!(run.averages.drain(), BTreeMap::from([(CPU.to_owned(), vec![27.0])]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_once_until_it_is_over() {
        let values = vec![failure(), failure(), Ok(101.0), Ok(40.0), failure(), failure(), Ok(60.0)];
        let run = run(values, 7).await;
        let told = run.told.lock().unwrap();
        let failed =
            "capture of a worker metric failed: C: cannot be read: gone, source=/proc/stat; repeated in 1000 ms";
        assert_eq!(*told, [failed, failed]);
        assert_eq!(run.averages.drain()[CPU], [50.0], "failures do not count");
    }

    #[tokio::test(start_paused = true)]
    async fn a_metric_that_never_works_is_reported_as_such() {
        let run = run(vec![failure()], 40).await;
        assert_eq!(run.averages.drain()[CPU], [-1.0]);
        assert_eq!(run.told.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_gauges_there_are_no_metrics() {
        let clock = Clock::system();
        let (collector, averages) =
            Collector::new(Vec::new(), Pace::default(), clock.clone(), Rng::seeded(1), Events::default());
        assert!(clock.timeout(Duration::from_secs(5), collector.run()).await.is_err());
        assert_eq!(averages.drain(), BTreeMap::new());
    }
}
