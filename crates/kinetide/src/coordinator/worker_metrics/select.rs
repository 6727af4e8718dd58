//! Which gauge fits this machine: ECS, EKS or Linux.
//!
//! Unlike the Java KCL, nobody is asked whether this is EC2: Java waits for the instance metadata service, up to five
//! seconds for each attempt, and reads `/proc/stat` only if that answers. Its counters are as good on any Linux, so a
//! worker on premises is balanced by its CPU too, and none waits at its start. Elsewhere there is no metric, and the
//! leader goes by throughput.
//!
//! As in Java: the environment of ECS comes first, whatever else is there; on EKS without control groups nothing is
//! measured, because `/proc/stat` is the host's there.

use std::sync::Arc;

use super::capture::cgroup::{Cgroup, Version};
use super::capture::ecs::EcsTask;
use super::capture::http::Fetch;
use super::capture::proc_stat::{PROC_STAT, ProcStat};
use super::capture::{Gauge, Root};

/// The environment variable by which ECS tells a container where its metadata is.
pub const ECS_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

const EKS_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const CGROUP_V2: &str = "/sys/fs/cgroup/cgroup.controllers";
const CGROUP_V1: [&str; 2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu"];

/// Where a process looks to find out what it runs on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The file system.
    pub root: Root,
    /// The value of [`ECS_VARIABLE`].
    pub ecs_address: Option<String>,
    /// Only Linux has counters that are known here.
    pub is_linux: bool,
}

impl Surroundings {
    /// What this process sees.
    #[must_use]
    pub fn real() -> Self {
        let ecs_address = std::env::var(ECS_VARIABLE).ok();
        Self { root: Root::new("/"), ecs_address, is_linux: cfg!(target_os = "linux") }
    }
}

/// What this worker runs on, as far as its gauge depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// A container of ECS.
    Ecs {
        /// Of its metadata.
        address: String,
    },
    /// A container of EKS, or another Kubernetes.
    Eks(Version),
    /// A Linux machine: EC2 or any other.
    Linux,
}

/// What this worker runs on; `None` where its CPU cannot be measured.
#[must_use]
pub fn select(around: &Surroundings) -> Option<Platform> {
    let has = |path: &str| around.root.has(path);
    if !around.is_linux {
        return None;
    }
    if let Some(address) = around.ecs_address.as_ref().filter(|address| !address.is_empty()) {
        return Some(Platform::Ecs { address: address.clone() });
    }
    if !has(EKS_TOKEN) {
        return has(PROC_STAT).then_some(Platform::Linux);
    }
    if has(CGROUP_V2) {
        return Some(Platform::Eks(Version::V2));
    }
    CGROUP_V1.into_iter().any(has).then_some(Platform::Eks(Version::V1))
}

impl Platform {
    /// The gauge that fits.
    #[must_use]
    pub fn gauge(self, root: Root, fetch: Arc<dyn Fetch>) -> Box<dyn Gauge> {
        match self {
            Self::Ecs { address } => Box::new(EcsTask::new(address, fetch)),
            Self::Eks(version) => Box::new(Cgroup::new(version, root)),
            Self::Linux => Box::new(ProcStat::new(root)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::capture::tests::root_with;
    use super::*;

    fn selected(ecs_address: Option<&str>, is_linux: bool, files: &[&str]) -> Option<Platform> {
        let files: Vec<_> = files.iter().map(|path| (*path, "")).collect();
        let (_directory, root) = root_with(&files);
        select(&Surroundings { root, ecs_address: ecs_address.map(str::to_owned), is_linux })
    }

    #[test]
    fn ecs_comes_first() {
        let ecs = Some(Platform::Ecs { address: "http://169.254.170.2/v4/a".to_owned() });
        let files = [EKS_TOKEN, CGROUP_V2, PROC_STAT];
        assert_eq!(selected(Some("http://169.254.170.2/v4/a"), true, &files), ecs);
        assert_eq!(selected(Some(""), true, &[PROC_STAT]), Some(Platform::Linux));
    }

    #[test]
    fn eks_goes_by_control_groups_only() {
        let v1 = Some(Platform::Eks(Version::V1));
        assert_eq!(selected(None, true, &[EKS_TOKEN, CGROUP_V2, PROC_STAT]), Some(Platform::Eks(Version::V2)));
        assert_eq!(selected(None, true, &[EKS_TOKEN, "/sys/fs/cgroup/cpu/cpuacct.usage", PROC_STAT]), v1);
        assert_eq!(selected(None, true, &[EKS_TOKEN, "/sys/fs/cgroup/memory/x"]), v1);
        assert_eq!(selected(None, true, &[EKS_TOKEN, PROC_STAT]), None);
    }

    #[test]
    fn any_linux_goes_by_its_counters_and_nothing_else_is_measured() {
        assert_eq!(selected(None, true, &[PROC_STAT, CGROUP_V2]), Some(Platform::Linux));
        assert_eq!(selected(None, true, &[]), None);
        assert_eq!(selected(Some("http://169.254.170.2/v4/a"), false, &[EKS_TOKEN, CGROUP_V2, PROC_STAT]), None);
    }

    #[test]
    fn real_surroundings_are_those_of_this_process() {
        assert_eq!(Surroundings::real().is_linux, std::env::consts::OS == "linux");
    }
}
