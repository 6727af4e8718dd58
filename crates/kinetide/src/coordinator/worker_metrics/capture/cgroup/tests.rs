use super::super::tests::{put, root_with};
use super::*;

const STAT_V2: &str = "\
usage_usec 52370000
user_usec 38120000
system_usec 14250000
nr_periods 1201
nr_throttled 17
throttled_usec 430000
";

fn at(seconds: u64) -> Moment {
    Moment::at(Duration::from_secs(seconds))
}

fn problem<T: std::fmt::Debug>(result: Result<T, CaptureError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn used_time_of_both_versions() {
    assert_eq!(parse_used_v2(STAT_V2), Ok(Duration::from_micros(52_370_000)));
    assert_eq!(parse_used_v2("user_usec 1\nusage_usec 2"), Ok(Duration::from_micros(2)), "in any order");
    assert_eq!(parse_used_v1("52370000123\n"), Ok(Duration::from_nanos(52_370_000_123)));
}

#[test]
fn used_time_that_makes_no_sense_is_told() {
    let missing = "there is no number 'usage_usec', source=/sys/fs/cgroup/cpu.stat value=";
    assert_eq!(problem(parse_used_v2("")), format!("{missing}''"));
    assert_eq!(problem(parse_used_v2("usage_usec many\nuser_usec 1")), format!("{missing}'many'"));
    assert_eq!(problem(parse_used_v2("user_usec 1")), format!("{missing}'user_usec 1'"));
    for text in ["", "-1", "1.5", "7 7"] {
        let expected = format!("not a number, source=/sys/fs/cgroup/cpu/cpuacct.usage value='{text}'");
        assert_eq!(problem(parse_used_v1(text)), expected);
    }
}

#[test]
fn limits_of_both_versions() {
    assert_eq!(parse_limit_v2("150000 100000\n"), Ok(Some(1.5)));
    assert_eq!(parse_limit_v2("max 100000\n"), Ok(None));
    assert_eq!(parse_limit_v1("25000\n", "100000\n"), Ok(Some(0.25)));
    assert_eq!(parse_limit_v1("-1\n", "100000\n"), Ok(None));
}

#[test]
fn limits_that_make_no_sense_are_told() {
    for text in ["", "max", "max many", "100000", "0 100000", "100000 0", "-5 100000", "1 2 3"] {
        let expected = format!("not a quota and a period, source=/sys/fs/cgroup/cpu.max value='{text}'");
        assert_eq!(problem(parse_limit_v2(text)), expected);
    }
    let quota = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    assert_eq!(problem(parse_limit_v1("-2", "100000")), format!("not a number, source={quota} value='-2'"));
    assert_eq!(problem(parse_limit_v1("5", "0")), format!("not a quota, source={quota} value='5 of 0'"));
    let period = "/sys/fs/cgroup/cpu/cpu.cfs_period_us";
    assert_eq!(problem(parse_limit_v1("5", "")), format!("not a number, source={period} value=''"));
}

#[test]
fn cores_of_a_set() {
    for (text, cores) in [("0\n", 1.0), ("0-7", 8.0), ("0-4,6,8-10\n", 9.0), ("2,5", 2.0)] {
        assert_eq!(count_cores(CPUS_V2, text), Ok(cores), "{text}");
    }
    for text in ["", ",", "0-", "3-1", "a-b", "0,,1", "0-4294967295"] {
        let expected = format!("not a set of cores, source=/sys/fs/cgroup/cpuset.cpus.effective value='{text}'");
        assert_eq!(problem(count_cores(CPUS_V2, text)), expected);
    }
}

#[test]
fn busy_is_used_by_passed_by_cores() {
    let usage = |millis, seconds| Usage { used: Duration::from_millis(millis), at: at(seconds) };
    let before = usage(10_000, 5);
    assert_eq!(percent(STAT, before, usage(10_500, 6), 2.0), Ok(25.0));
    assert_eq!(percent(STAT, before, usage(12_000, 6), 8.0), Ok(25.0), "several cores at once");
    assert_eq!(percent(STAT, before, usage(10_900, 6), 0.25), Ok(100.0), "above the limit");
    assert_eq!(percent(STAT, before, usage(10_000, 6), 1.0), Ok(0.0));
    let back = "the counter went back, source=/sys/fs/cgroup/cpu.stat value='9s after 10s'";
    assert_eq!(problem(percent(STAT, before, usage(9_000, 6), 1.0)), back);
    assert!(percent(STAT, before, usage(10_500, 5), 1.0).is_err(), "no time has passed");
}

#[tokio::test]
async fn version_2_is_read_with_and_without_a_quota() {
    let (_directory, root) = root_with(&[(STAT, STAT_V2), (MAX, "50000 100000\n"), (CPUS_V2, "0-3\n")]);
    let mut gauge = Cgroup::new(Version::V2, root.clone());
    assert_eq!(gauge.capture(at(1)).await, Ok(0.0));
    put(&root, STAT, "usage_usec 52470000\n");
    assert_eq!(gauge.capture(at(2)).await, Ok(20.0));
    put(&root, STAT, "usage_usec 54470000\n");
    put(&root, MAX, "max 100000\n");
    assert_eq!(gauge.capture(at(3)).await, Ok(50.0), "two of four cores");
}

#[tokio::test]
async fn the_root_group_has_no_limit() {
    let (_directory, root) = root_with(&[(STAT, "usage_usec 0"), (CPUS_V2, "0-1\n")]);
    let mut gauge = Cgroup::new(Version::V2, root.clone());
    assert_eq!(gauge.capture(at(1)).await, Ok(0.0));
    put(&root, STAT, "usage_usec 1000000");
    assert_eq!(gauge.capture(at(2)).await, Ok(50.0));
}

#[tokio::test]
async fn version_1_is_read() {
    let files = [(USAGE, "1000000000\n"), (QUOTA, "-1\n"), (PERIOD, "100000\n"), (CPUS_V1, "0-1\n")];
    let (directory, root) = root_with(&files);
    let mut gauge = Cgroup::new(Version::V1, root.clone());
    assert_eq!(gauge.capture(at(1)).await, Ok(0.0));
    put(&root, USAGE, "2500000000\n");
    assert_eq!(gauge.capture(at(2)).await, Ok(75.0));
    put(&root, QUOTA, "200000\n");
    put(&root, USAGE, "3500000000\n");
    assert_eq!(gauge.capture(at(3)).await, Ok(50.0));
    std::fs::remove_file(directory.path().join(&USAGE[1..])).unwrap();
    assert!(problem(gauge.capture(at(4)).await).ends_with(USAGE_APART));
    put(&root, USAGE_APART, "4500000000\n");
    assert_eq!(gauge.capture(at(5)).await, Ok(25.0), "one of two cores for one of two seconds");
}
