//! The CPU of a container on ECS, by the task metadata endpoint, version 4.
//!
//! Busy is the container's part of the CPU time that the machine spent since the last look, by the cores the container
//! may use: those of its task, shared among its containers in proportion to their shares. The endpoint gives both looks
//! at once.
//!
//! As in Java: the task's limit counts if there is one, and all cores otherwise; a container may burst above its share,
//! which counts as 100. Unlike there, a container without a share counts with the two that ECS gives it, where Java
//! divides by zero.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::http::Fetch;
use super::{CPU, CaptureError, Gauge};
use crate::clock::Moment;

/// What ECS gives a container that asks for no share, or for 0.
const SHARE_MIN: f64 = 2.0;

/// Two looks at once: nanoseconds of CPU time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Used by the container.
    pub used: u64,
    /// Spent by the machine, idle or not, over all cores.
    pub system: u64,
    /// The same a moment earlier; both 0 the first time.
    pub used_before: u64,
    /// The same a moment earlier.
    pub system_before: u64,
    /// The machine's cores.
    pub cores: f64,
}

/// The looks in a container's `/stats`.
///
/// # Errors
/// [`CaptureError`] with the address and the text, if it has no such numbers: at first it is `null`.
pub fn parse_stats(url: &str, text: &str) -> Result<Stats, CaptureError> {
    let json = parse(url, text)?;
    let number = |path: &str| json.pointer(path).and_then(Value::as_u64);
    let wrong = || CaptureError::senseless(url, "there are no CPU statistics", text);
    let cores = json.pointer("/cpu_stats/online_cpus").and_then(Value::as_f64).filter(|cores| *cores > 0.0);
    Ok(Stats {
        used: number("/cpu_stats/cpu_usage/total_usage").ok_or_else(wrong)?,
        system: number("/cpu_stats/system_cpu_usage").ok_or_else(wrong)?,
        used_before: number("/precpu_stats/cpu_usage/total_usage").unwrap_or(0),
        system_before: number("/precpu_stats/system_cpu_usage").unwrap_or(0),
        cores: cores.ok_or_else(wrong)?,
    })
}

/// The id in a container's own description.
///
/// # Errors
/// [`CaptureError`] with the address and the text, if there is none.
pub fn parse_container(url: &str, text: &str) -> Result<String, CaptureError> {
    let id = parse(url, text)?.pointer("/DockerId").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| CaptureError::senseless(url, "the container has no id", text))
}

/// How many cores this container may use, by the description of its task; `all` if the task has no limit and nothing
/// else in it.
///
/// # Errors
/// [`CaptureError`] with the address and the text, if it describes no containers.
pub fn parse_cores(url: &str, text: &str, container: &str, all: f64) -> Result<f64, CaptureError> {
    let task = parse(url, text)?;
    let limit = |of: &Value| of.pointer("/Limits/CPU").and_then(Value::as_f64).filter(|limit| *limit > 0.0);
    let containers = task.pointer("/Containers").and_then(Value::as_array);
    let containers = containers.ok_or_else(|| CaptureError::senseless(url, "the task has no containers", text))?;
    let share = |of: &Value| limit(of).unwrap_or(0.0).max(SHARE_MIN);
    let is_own = |of: &&Value| of.pointer("/DockerId").and_then(Value::as_str) == Some(container);
    let own = containers.iter().find(is_own).map_or(SHARE_MIN, share);
    let others: f64 = containers.iter().filter(|of| !is_own(of)).map(share).sum();
    Ok(limit(&task).unwrap_or(all) * own / (own + others))
}

fn parse(url: &str, text: &str) -> Result<Value, CaptureError> {
    serde_json::from_str(text).map_err(|_| CaptureError::senseless(url, "not JSON", text))
}

/// How much of so many cores was used between the two looks, in percent, 100 at most.
///
/// # Errors
/// [`CaptureError`] if a counter went back.
pub fn percent(url: &str, stats: &Stats, cores: f64) -> Result<f64, CaptureError> {
    if stats.used_before == 0 && stats.system_before == 0 {
        return Ok(0.0);
    }
    let differences = stats.used.checked_sub(stats.used_before).zip(stats.system.checked_sub(stats.system_before));
    let back = || CaptureError::senseless(url, "the counters went back", format!("{stats:?}"));
    Ok(match differences.ok_or_else(back)? {
        (0, _) => 0.0,
        // As in Java: it took everything there was.
        (_, 0) => 100.0,
        (used, system) => (used as f64 / system as f64 * stats.cores / cores * 100.0).min(100.0),
    })
}

/// Asks the endpoint of this container.
pub struct EcsTask {
    address: String,
    fetch: Arc<dyn Fetch>,
    /// What the container may use does not change while it runs.
    cores: Option<f64>,
}

impl EcsTask {
    /// The endpoint is at this address, which ECS puts into the environment.
    #[must_use]
    pub fn new(address: impl Into<String>, fetch: Arc<dyn Fetch>) -> Self {
        Self { address: address.into().trim_end_matches('/').to_owned(), fetch, cores: None }
    }

    async fn cores(&self, all: f64) -> Result<f64, CaptureError> {
        let url = format!("{}/task", self.address);
        let container = parse_container(&self.address, &self.fetch.get(&self.address).await?)?;
        parse_cores(&url, &self.fetch.get(&url).await?, &container, all)
    }
}

#[async_trait]
impl Gauge for EcsTask {
    fn metric(&self) -> &'static str {
        CPU
    }

    async fn capture(&mut self, _now: Moment) -> Result<f64, CaptureError> {
        let url = format!("{}/stats", self.address);
        let stats = parse_stats(&url, &self.fetch.get(&url).await?)?;
        let cores = match self.cores {
            Some(cores) => cores,
            None => *self.cores.insert(self.cores(stats.cores).await?),
        };
        percent(&url, &stats, cores)
    }
}

#[cfg(test)]
mod tests;
