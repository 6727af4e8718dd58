//! The CPU of a whole Linux machine: the first line of `/proc/stat`, summed over all cores.
//!
//! ```text
//! cpu  user nice system idle iowait irq softirq steal guest guest_nice
//! ```
//!
//! As in Java: user includes nice, and includes guests because the kernel counts them there too; waiting for I/O is
//! work; time in interrupts and stolen time are left out. Inside a container this is the host's line, not the
//! container's.

use async_trait::async_trait;

use super::{CPU, CaptureError, Gauge, Root};
use crate::clock::Moment;

/// Where the counters are.
pub const PROC_STAT: &str = "/proc/stat";

/// What all cores did since the machine started, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// In programs, low-priority ones and guests included.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Nothing.
    pub idle: u64,
    /// Nothing, while I/O was under way. The one counter that may fall.
    pub iowait: u64,
}

/// The counters in the text of `/proc/stat`.
///
/// # Errors
/// [`CaptureError`] with the first line, if it is not `cpu` and at least five numbers.
pub fn parse(text: &str) -> Result<Ticks, CaptureError> {
    let line = text.lines().next().unwrap_or_default();
    let wrong = || CaptureError::senseless(PROC_STAT, "the first line is not 'cpu' and five numbers", line);
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("cpu") {
        return Err(wrong());
    }
    let numbers: Vec<u64> = words.take(5).filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, idle, iowait] = numbers[..] else { return Err(wrong()) };
    Ok(Ticks { user: user.saturating_add(nice), system, idle, iowait })
}

/// How much of the time between two looks was not idle, in percent.
///
/// # Errors
/// [`CaptureError`] if a counter fell. Only the time waited for I/O may, as the kernel says; nothing else went on then,
/// so it counts as no work.
pub fn percent(before: &Ticks, now: &Ticks) -> Result<f64, CaptureError> {
    if now.user < before.user || now.system < before.system || now.idle < before.idle {
        return Err(CaptureError::senseless(PROC_STAT, "the counters went back", format!("{now:?} after {before:?}")));
    }
    let worked = (now.user - before.user).saturating_add(now.system - before.system);
    let busy = worked.saturating_add(now.iowait).saturating_sub(before.iowait);
    let total = busy.saturating_add(now.idle - before.idle);
    // Two looks within one tick: nothing moved.
    Ok(if total == 0 { 0.0 } else { busy as f64 / total as f64 * 100.0 })
}

/// Looks at `/proc/stat`.
#[derive(Debug)]
pub struct ProcStat {
    root: Root,
    before: Option<Ticks>,
}

impl ProcStat {
    /// Below this root.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { root, before: None }
    }
}

#[async_trait]
impl Gauge for ProcStat {
    fn metric(&self) -> &'static str {
        CPU
    }

    async fn capture(&mut self, _now: Moment) -> Result<f64, CaptureError> {
        let now = parse(&self.root.read(PROC_STAT)?)?;
        self.before.replace(now).map_or(Ok(0.0), |before| percent(&before, &now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{put, root_with};
    use super::*;

    const TWO_CORES: &str = "\
cpu  1707582 317254 149424 1066190 8292 0 3067 2751 0 0
cpu0 847529 150941 71897 551398 2779 0 1053 1387 0 0
cpu1 860053 166313 77527 514792 5512 0 2014 1363 0 0
intr 53188013 0 0 0
ctxt 94112231
btime 1763719000
";

    fn ticks(user: u64, system: u64, idle: u64, iowait: u64) -> Ticks {
        Ticks { user, system, idle, iowait }
    }

    #[test]
    fn the_first_line_counts_with_nice_and_without_interrupts() {
        assert_eq!(parse(TWO_CORES), Ok(ticks(1_707_582 + 317_254, 149_424, 1_066_190, 8_292)));
        assert_eq!(parse("cpu 1 2 3 4 5"), Ok(ticks(3, 3, 4, 5)), "kernels without later columns");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for line in ["", "cpu", "cpu0 1 2 3 4 5", "cpu 1 2 3 4", "cpu 1 2 three 4 5 6", "cpu 1 2 -3 4 5"] {
            let error = parse(line).unwrap_err().to_string();
            let expected = "the first line is not 'cpu' and five numbers, source=/proc/stat value=";
            assert_eq!(error, format!("{expected}'{line}'"));
        }
    }

    #[test]
    fn what_is_not_idle_is_busy() {
        let before = ticks(1_000, 500, 8_000, 100);
        assert_eq!(percent(&before, &ticks(1_030, 510, 8_150, 110)), Ok(25.0));
        assert_eq!(percent(&before, &ticks(1_200, 500, 8_000, 100)), Ok(100.0));
        assert_eq!(percent(&before, &ticks(1_000, 500, 8_200, 100)), Ok(0.0));
        assert_eq!(percent(&before, &before), Ok(0.0), "nothing moved");
    }

    #[test]
    fn only_waiting_for_io_may_go_back() {
        let before = ticks(1_000, 500, 8_000, 100);
        assert_eq!(percent(&before, &ticks(1_000, 500, 8_050, 90)), Ok(0.0));
        assert_eq!(percent(&before, &ticks(1_060, 500, 8_050, 90)), Ok(50.0));
        let error = percent(&before, &ticks(1_000, 500, 7_999, 200)).unwrap_err().to_string();
        assert!(error.starts_with("the counters went back, source=/proc/stat value='Ticks { user: 1000,"), "{error}");
        assert!(percent(&before, &ticks(0, 0, 0, 0)).is_err());
    }

    #[tokio::test]
    async fn a_first_look_is_0_and_a_failed_one_is_forgotten() {
        let (_directory, root) = root_with(&[(PROC_STAT, "cpu 100 0 0 100 0")]);
        let mut gauge = ProcStat::new(root.clone());
        let now = Moment::at(Duration::ZERO);
        assert_eq!(gauge.capture(now).await, Ok(0.0));
        put(&root, PROC_STAT, "cpu 110 0 0 130 0");
        assert_eq!(gauge.capture(now).await, Ok(25.0));
        put(&root, PROC_STAT, "cpu 0 0 0 0 0");
        assert!(gauge.capture(now).await.is_err(), "counters from another machine");
        put(&root, PROC_STAT, "cpu 5 5 0 10 0");
        assert_eq!(gauge.capture(now).await, Ok(50.0));
    }
}
