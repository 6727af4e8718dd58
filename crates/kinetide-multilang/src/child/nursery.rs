//! Knows every child that lives, so that none outlives the daemon: neither one that is being waited for in the
//! background nor one whose daemon ends at once.
//!
//! A child is its process group, led by itself. Its number is used only while it is a member here, and it is a member
//! from its start until it has been waited for, so no stranger can have got the number.

use std::collections::BTreeSet;
use std::future::Future;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// All children of a daemon; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Nursery {
    groups: Arc<Mutex<BTreeSet<i32>>>,
    endings: TaskTracker,
}

/// One child's place in the nursery; dropping it kills the group, unless it was left in order.
#[derive(Debug)]
pub(super) struct Membership {
    nursery: Nursery,
    group: i32,
}

impl Nursery {
    fn groups(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, group: i32) -> Membership {
        self.groups().insert(group);
        Membership { nursery: self.clone(), group }
    }

    /// Waits for a child's end in the background, whether anybody awaits the handle or not; without a runtime it is
    /// killed.
    pub(super) fn see_out(
        &self,
        ending: impl Future<Output = Option<ExitStatus>> + Send + 'static,
    ) -> Option<JoinHandle<Option<ExitStatus>>> {
        let runtime = Handle::try_current().ok()?;
        Some(self.endings.spawn_on(ending, &runtime))
    }

    /// Returns when every child that is being closed or was dropped has ended.
    pub async fn all_seen_out(&self) {
        self.endings.close();
        self.endings.wait().await;
        self.endings.reopen();
    }

    /// Kills every child that still lives, at once.
    pub fn kill_all(&self) {
        for group in &*self.groups() {
            signal(*group, Signal::KILL);
        }
    }

    /// How many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups().len()
    }

    /// True if none lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups().is_empty()
    }
}

impl Membership {
    /// The number of the process that leads the group.
    pub(super) fn pid(&self) -> i32 {
        self.group
    }

    /// Asks the group to end.
    pub(super) fn terminate(&self) {
        signal(self.group, Signal::TERM);
    }

    /// Ends the group.
    pub(super) fn kill(&self) {
        signal(self.group, Signal::KILL);
    }

    /// The child has been waited for: its number means nothing any more.
    pub(super) fn leave(&mut self) {
        self.nursery.groups().remove(&self.group);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.nursery.groups().remove(&self.group) {
            self.kill();
        }
    }
}

fn signal(group: i32, signal: Signal) {
    // A group that is gone already is what was wanted.
    if let Some(group) = Pid::from_raw(group) {
        let _ = kill_process_group(group, signal);
    }
}
