//! How the leader assigns: plain data, with Java's defaults.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::settings::Settings;

/// How the leader decides who gets which lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// By how busy each worker says it is (`WORKER_UTILIZATION_AWARE`).
    #[default]
    WorkerUtilizationAware,
    /// The same number for everybody (`LEASE_COUNT_BASED`).
    LeaseCountBased,
}

/// What the leader's plan goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct AssignSettings {
    /// By utilisation or by number. Default by utilisation (`leaseAssignmentStrategy`).
    pub strategy: Strategy,
    /// Leases are moved once a worker is so far from the fleet's average. Lower: more even, and more hand-offs for
    /// every change of load. Default 10 % (`reBalanceThresholdPercentage`).
    pub rebalance_threshold_percent: u32,
    /// How much of what a worker has above the average it gives away in one balancing. More balances sooner and errs
    /// further where load does not follow throughput. Default 60 % (`dampeningPercentage`).
    pub dampening_percent: u32,
    /// A worker may give a little more than that, or one lease that is larger, rather than nothing. Default true
    /// (`allowThroughputOvershoot`).
    pub throughput_overshoot: bool,
    /// Load is balanced in every so many runs. Default 3 (`varianceBalancingFrequency`).
    pub balancing_frequency: NonZeroU32,
    /// Weight of a worker's newest figure in its moving average, above 0 and up to 1. Default 0.5
    /// (`workerMetricsEMAAlpha`).
    pub metrics_alpha: f64,
    /// What a worker is given at most, in KB/s. Default unlimited (`maxThroughputPerHostKBps`).
    pub throughput_per_worker_kbps_max: f64,
    /// A worker's figures are deleted when they are so old. Default 1 day (`staleWorkerMetricsEntryCleanupDuration`).
    pub metrics_stale_after: Duration,
    /// How often each worker writes its figures; one that has not for twice as long gets nothing. Default 30 s
    /// (`workerMetricsReporterFreqInMillis`).
    pub metrics_report_interval: Duration,
    /// As [`Settings::leases_per_worker_max`].
    pub leases_per_worker_max: NonZeroU32,
    /// As [`Settings::failover_time`].
    pub failover_time: Duration,
    /// As [`Settings::hand_off_time`].
    pub hand_off_time: Duration,
    /// As [`Settings::graceful_hand_off`].
    pub graceful_hand_off: bool,
}

impl AssignSettings {
    /// The defaults, with what a worker's settings say of leases in general.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            strategy: Strategy::default(),
            rebalance_threshold_percent: 10,
            dampening_percent: 60,
            throughput_overshoot: true,
            balancing_frequency: NonZeroU32::MIN.saturating_add(2),
            metrics_alpha: 0.5,
            throughput_per_worker_kbps_max: f64::INFINITY,
            metrics_stale_after: Duration::from_secs(24 * 60 * 60),
            metrics_report_interval: Duration::from_secs(30),
            leases_per_worker_max: settings.leases_per_worker_max,
            failover_time: settings.failover_time,
            hand_off_time: settings.hand_off_time,
            graceful_hand_off: settings.graceful_hand_off,
        }
    }

    /// How far from the average a worker may be, as a part of it.
    pub(super) fn threshold(&self) -> f64 {
        f64::from(self.rebalance_threshold_percent) / 100.0
    }

    /// Which part of what it has above the average a worker gives away at once.
    pub(super) fn dampening(&self) -> f64 {
        f64::from(self.dampening_percent) / 100.0
    }
}

impl Default for AssignSettings {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}
