//! The CPU of a container on EKS, by the files of its control group, in version 2 or 1.
//!
//! Busy is the CPU time used, by the time that passed, by the cores the container may use: its quota, or without one,
//! the cores of its set. A container may burst above its quota for a moment; above 100 counts as 100.

use std::time::Duration;

use async_trait::async_trait;

use super::{CPU, CaptureError, Gauge, Root};
use crate::clock::Moment;

const STAT: &str = "/sys/fs/cgroup/cpu.stat";
const MAX: &str = "/sys/fs/cgroup/cpu.max";
const CPUS_V2: &str = "/sys/fs/cgroup/cpuset.cpus.effective";
const USAGE: &str = "/sys/fs/cgroup/cpu/cpuacct.usage";
/// Where two controllers that usually share a directory do not.
const USAGE_APART: &str = "/sys/fs/cgroup/cpuacct/cpuacct.usage";
const QUOTA: &str = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us";
const PERIOD: &str = "/sys/fs/cgroup/cpu/cpu.cfs_period_us";
const CPUS_V1: &str = "/sys/fs/cgroup/cpuset/cpuset.effective_cpus";

/// The version of the control group's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Amazon Linux 2.
    V1,
    /// Amazon Linux 2023.
    V2,
}

/// A look: the CPU time used until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, over all cores.
    pub used: Duration,
    /// When that was.
    pub at: Moment,
}

/// The CPU time used, in the text of version 2's `cpu.stat`.
///
/// # Errors
/// [`CaptureError`] with the text, if it has no line `usage_usec` with a number.
pub fn parse_used_v2(text: &str) -> Result<Duration, CaptureError> {
    let value = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    let micros = value.and_then(|value| value.trim().parse().ok());
    let wrong = || CaptureError::senseless(STAT, "there is no number 'usage_usec'", value.unwrap_or(text));
    micros.map(Duration::from_micros).ok_or_else(wrong)
}

/// The CPU time used, in the text of version 1's `cpuacct.usage`.
///
/// # Errors
/// [`CaptureError`] with the text, if it is not a number.
pub fn parse_used_v1(text: &str) -> Result<Duration, CaptureError> {
    number(USAGE, text).map(Duration::from_nanos)
}

/// The quota in the text of version 2's `cpu.max`, in cores; `None` without one.
///
/// # Errors
/// [`CaptureError`] with the text, if it is not a quota or `max`, and a period.
pub fn parse_limit_v2(text: &str) -> Result<Option<f64>, CaptureError> {
    let wrong = || CaptureError::senseless(MAX, "not a quota and a period", text);
    let (quota, period) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let period: u64 = period.parse().map_err(|_| wrong())?;
    if quota == "max" {
        return Ok(None);
    }
    let quota: u64 = quota.parse().map_err(|_| wrong())?;
    cores(quota, period).map(Some).ok_or_else(wrong)
}

/// The quota in the texts of version 1's `cpu.cfs_quota_us` and `cpu.cfs_period_us`, in cores; `None` without one.
///
/// # Errors
/// [`CaptureError`] with the text that is not a number, or makes no quota.
pub fn parse_limit_v1(quota: &str, period: &str) -> Result<Option<f64>, CaptureError> {
    if quota.trim() == "-1" {
        return Ok(None);
    }
    let (quota, period) = (number(QUOTA, quota)?, number(PERIOD, period)?);
    let wrong = || CaptureError::senseless(QUOTA, "not a quota", format!("{quota} of {period}"));
    cores(quota, period).map(Some).ok_or_else(wrong)
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn number(path: &str, text: &str) -> Result<u64, CaptureError> {
    text.trim().parse().map_err(|_| CaptureError::senseless(path, "not a number", text))
}

/// How many cores a set such as `0-4,6,8-10` has, which is nine.
///
/// # Errors
/// [`CaptureError`] with the text, if it is not such a set, or an empty one.
pub fn count_cores(path: &str, text: &str) -> Result<f64, CaptureError> {
    let wrong = || CaptureError::senseless(path, "not a set of cores", text);
    let count = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    let counts: Option<Vec<u32>> = text.trim().split(',').map(count).collect();
    Ok(counts.ok_or_else(wrong)?.into_iter().map(f64::from).sum())
}

/// How much of so many cores was used between two looks, in percent, 100 at most.
///
/// # Errors
/// [`CaptureError`] if the counter went back, as when a container was replaced, or if no time has passed.
pub fn percent(path: &str, before: Usage, now: Usage, cores: f64) -> Result<f64, CaptureError> {
    let back =
        || CaptureError::senseless(path, "the counter went back", format!("{:?} after {:?}", now.used, before.used));
    let used = now.used.checked_sub(before.used).ok_or_else(back)?;
    let passed = now.at.since(before.at);
    if passed.is_zero() {
        return Err(CaptureError::senseless(path, "no time has passed since the last look", format!("{:?}", now.used)));
    }
    Ok((used.as_secs_f64() / passed.as_secs_f64() / cores * 100.0).min(100.0))
}

/// Looks at the files of this container's control group.
///
/// The limit is read every time: a container may be given another one while it runs.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    root: Root,
    before: Option<Usage>,
}

impl Cgroup {
    /// Below this root.
    #[must_use]
    pub fn new(version: Version, root: Root) -> Self {
        Self { version, root, before: None }
    }

    fn used(&self) -> Result<(&'static str, Duration), CaptureError> {
        if self.version == Version::V2 {
            return Ok((STAT, parse_used_v2(&self.root.read(STAT)?)?));
        }
        let text = self.root.read_if_any(USAGE)?.map_or_else(|| self.root.read(USAGE_APART), Ok)?;
        Ok((USAGE, parse_used_v1(&text)?))
    }

    fn cores(&self) -> Result<f64, CaptureError> {
        let (limit, set) = match self.version {
            // The root group has no limit, and no file for it either.
            Version::V2 => (self.root.read_if_any(MAX)?.map_or(Ok(None), |text| parse_limit_v2(&text))?, CPUS_V2),
            Version::V1 => (parse_limit_v1(&self.root.read(QUOTA)?, &self.root.read(PERIOD)?)?, CPUS_V1),
        };
        limit.map_or_else(|| count_cores(set, &self.root.read(set)?), Ok)
    }
}

#[async_trait]
impl Gauge for Cgroup {
    fn metric(&self) -> &'static str {
        CPU
    }

    async fn capture(&mut self, now: Moment) -> Result<f64, CaptureError> {
        let cores = self.cores()?;
        let (path, used) = self.used()?;
        let now = Usage { used, at: now };
        self.before.replace(now).map_or(Ok(0.0), |before| percent(path, before, now, cores))
    }
}

#[cfg(test)]
mod tests;
