//! The values of one metric: raw ones of the interval under way, and the averages of the last ones, which are what the
//! fleet is told.

use std::collections::VecDeque;

use super::capture::CaptureError;
use super::item::NOT_CAPTURED;
use crate::lease::throughput::rounded;

/// Raw values kept, five minutes of them. Reports come far more often.
const RAW_MAX: usize = 300;
/// Averages kept and told.
pub const AVERAGES_MAX: usize = 10;

/// Raw values and averages, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    raw: VecDeque<f64>,
    averages: VecDeque<f64>,
}

impl Series {
    /// Adds a value; of too many, the newest are kept.
    ///
    /// # Errors
    /// [`CaptureError`] if it is not in 0 to 100. It does not count.
    pub fn note(&mut self, metric: &str, value: f64) -> Result<(), CaptureError> {
        if !(0.0..=100.0).contains(&value) {
            return Err(CaptureError::senseless(metric, "not in 0 to 100", value));
        }
        push(&mut self.raw, value, RAW_MAX);
        Ok(())
    }

    /// Ends the interval under way: its values become one average more. Without any, that one says so, and the leader
    /// gives this worker nothing until the next.
    pub fn drain(&mut self) -> Vec<f64> {
        let count = self.raw.len();
        let sum: f64 = self.raw.drain(..).sum();
        let average = if count == 0 { NOT_CAPTURED } else { rounded(sum / count as f64) };
        push(&mut self.averages, average, AVERAGES_MAX);
        self.averages.iter().copied().collect()
    }
}

fn push(values: &mut VecDeque<f64>, value: f64, most: usize) {
    while values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(values: &[f64]) -> Vec<f64> {
        let mut series = Series::default();
        values.iter().for_each(|value| series.note("C", *value).unwrap());
        series.drain()
    }

    #[test]
    fn values_become_an_average_of_six_decimals() {
        assert_eq!(drained(&[10.0, 20.0]), [15.0]);
        assert_eq!(drained(&[0.0, 0.0, 1.0]), [0.333_333]);
        assert_eq!(drained(&[0.0, 1.0, 1.0]), [0.666_667]);
        assert_eq!(drained(&[0.000_000_5]), [0.000_001]);
        assert_eq!(drained(&[0.0, 100.0]), [50.0]);
    }

    #[test]
    fn an_interval_without_values_says_so() {
        let mut series = Series::default();
        assert_eq!(series.drain(), [-1.0]);
        series.note("C", 7.0).unwrap();
        assert_eq!(series.drain(), [-1.0, 7.0]);
        assert_eq!(series.drain(), [-1.0, 7.0, -1.0], "values count once");
    }

    #[test]
    fn ten_averages_and_300_values_are_kept() {
        let mut series = Series::default();
        for value in 0..15 {
            series.note("C", f64::from(value)).unwrap();
            series.drain();
        }
        (0..400).for_each(|index| series.note("C", if index < 100 { 100.0 } else { 1.0 }).unwrap());
        let expected = [6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 1.0];
        assert_eq!(series.drain(), expected);
    }

    #[test]
    fn values_out_of_range_do_not_count() {
        let mut series = Series::default();
        for value in [-0.001, 100.001, f64::NAN, f64::INFINITY, -1.0] {
            let error = series.note("C", value).unwrap_err().to_string();
            assert_eq!(error, format!("not in 0 to 100, source=C value='{value}'"));
        }
        assert_eq!(series.drain(), [-1.0]);
    }
}
