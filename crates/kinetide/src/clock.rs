//! The only source of time.
//!
//! A [`Clock`] is one value per worker. It is tokio's clock plus a wall-clock start, so that pausing tokio pauses
//! everything, and a test can give one worker a clock that is wrong: that goes too fast or too slow, or whose wall time
//! jumps.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::stream::Timestamp;

/// A moment on a worker's own monotonic clock; comparable only with moments of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// Time passed from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus a duration.
    #[must_use]
    pub fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration))
    }

    /// The moment at which a clock with this much time on it stands; for plans tested without a clock.
    #[must_use]
    pub const fn at(elapsed: Duration) -> Moment {
        Moment(elapsed)
    }
}

/// A wait that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// Reads time and waits.
#[derive(Debug, Clone)]
pub struct Clock {
    started: tokio::time::Instant,
    started_wall_millis: i64,
    /// Of a clock that is wrong on purpose; a right one has none and does no arithmetic.
    error: Option<Arc<ClockError>>,
}

/// How a clock is wrong.
#[derive(Debug)]
struct ClockError {
    /// Seconds that pass on it in one real second.
    rate: f64,
    /// What its wall time has jumped so far.
    stepped_millis: AtomicI64,
}

impl Clock {
    /// The real clocks of this machine; inside a tokio runtime with paused time, the wall clock stands still with it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn system() -> Self {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            started: tokio::time::Instant::now(),
            started_wall_millis: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            error: None,
        }
    }

    /// A clock whose wall time starts here; with tokio's time paused it makes a run repeatable.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { started: tokio::time::Instant::now(), started_wall_millis: wall.as_millis(), error: None }
    }

    /// This clock, going so many times as fast as it should: everything that is measured or waited for by it is wrong by that,
    /// as on a machine whose oscillator is.
    #[must_use]
    pub fn with_rate(self, rate: f64) -> Self {
        Self { error: Some(Arc::new(ClockError { rate, stepped_millis: AtomicI64::new(0) })), ..self }
    }

    /// Makes the wall time of this clock and its clones jump, as when somebody sets it. Only for a clock made by
    /// [`Clock::with_rate`].
    pub fn step_wall(&self, millis: i64) {
        if let Some(error) = &self.error {
            error.stepped_millis.fetch_add(millis, Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> Duration {
        let real = self.started.elapsed();
        self.error.as_ref().map_or(real, |error| real.mul_f64(error.rate))
    }

    /// How long it really takes until so much has passed on this clock.
    fn real(&self, duration: Duration) -> Duration {
        match &self.error {
            None => duration,
            Some(error) if error.rate == 1.0 => duration,
            // Rounded up, so that whoever waits until a moment is never woken before it.
            Some(error) => duration.div_f64(error.rate).saturating_add(Duration::from_nanos(1)),
        }
    }

    /// Now, on the monotonic clock.
    #[must_use]
    pub fn monotonic(&self) -> Moment {
        Moment(self.elapsed())
    }

    /// Now, on the wall clock: for display and for start positions, never for deciding who owns a lease.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        let elapsed = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        let stepped = self.error.as_ref().map_or(0, |error| error.stepped_millis.load(Ordering::Relaxed));
        Timestamp::from_millis(self.started_wall_millis.saturating_add(elapsed).saturating_add(stepped))
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Waits until that moment; returns at once if it has passed.
    pub async fn sleep_until(&self, moment: Moment) {
        self.sleep(moment.since(self.monotonic())).await;
    }

    /// Waits for a future, but no longer than this.
    ///
    /// # Errors
    /// [`Elapsed`] when the time has passed; the future is dropped.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(duration), future).await.map_err(|_| Elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_tokio() {
        let clock = Clock::starting_at(Timestamp::from_millis(1_000));
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.wall(), Timestamp::from_millis(3_601_000));
        assert_eq!(clock.monotonic(), Moment::at(Duration::from_secs(3600)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_can_be_wrong() {
        let right = Clock::starting_at(Timestamp::from_millis(0));
        let fast = right.clone().with_rate(1.25);
        fast.sleep(Duration::from_secs(10)).await;
        assert_eq!(right.wall(), Timestamp::from_millis(8_001), "tokio's clock goes in milliseconds");
        assert!(fast.monotonic() >= Moment::at(Duration::from_secs(10)));
        let before = fast.monotonic();
        fast.step_wall(-3_600_000);
        assert_eq!((fast.monotonic(), fast.wall()), (before, Timestamp::from_millis(10_001 - 3_600_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_gives_up() {
        let clock = Clock::system();
        let never = std::future::pending::<()>();
        assert_eq!(clock.timeout(Duration::from_secs(1), never).await, Err(Elapsed));
    }
}
