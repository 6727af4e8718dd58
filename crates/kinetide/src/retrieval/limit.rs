//! How fast a shard is read: pure arithmetic on the last answer.

use std::time::Duration;

use crate::settings::Settings;

/// What Kinesis allows a shard: five reads a second.
pub(super) const SPACING_MIN: Duration = Duration::from_millis(200);
/// What an idle shard is read at, unless the settings say otherwise: the Java default.
const SPACING_IDLE: Duration = Duration::from_millis(1500);

/// The time from the start of one GetRecords call to the start of the next.
#[derive(Debug, Clone)]
pub struct Spacing {
    fixed: Option<Duration>,
    current: Duration,
}

impl Spacing {
    /// As the settings say: fixed, or adapting.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { fixed: settings.idle_time_between_reads, current: SPACING_MIN }
    }

    /// After an answer: busy shards are read as fast as is allowed, idle ones ever more slowly.
    pub fn after(&mut self, is_empty: bool) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed.max(SPACING_MIN);
        }
        self.current = if is_empty { (self.current * 2).min(SPACING_IDLE) } else { SPACING_MIN };
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapts_between_what_is_allowed_and_the_java_default() {
        let mut spacing = Spacing::new(&Settings::default());
        let steps: Vec<_> = [false, true, true, true, true, false].map(|empty| spacing.after(empty).as_millis()).into();
        assert_eq!(steps, [200, 400, 800, 1500, 1500, 200]);
    }

    #[test]
    fn a_set_value_is_honoured() {
        let idle = Duration::from_millis(700);
        let mut spacing = Spacing::new(&Settings { idle_time_between_reads: Some(idle), ..Settings::default() });
        assert_eq!([spacing.after(false), spacing.after(true)], [idle, idle]);
    }
}
