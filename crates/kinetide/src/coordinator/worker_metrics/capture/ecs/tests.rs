use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;

const ADDRESS: &str = "http://169.254.170.2/v4/5fc21e5b";
const OWN: &str = "ea32192c8553";

/// What the endpoint says of a container, as far as it is read, and some of what is not.
fn stats_text(before: (u64, u64), now: (u64, u64), cores: u64) -> String {
    format!(
        r#"{{"read": "2026-07-02T00:51:13.410254284Z", "preread": "2026-07-02T00:51:12.406202398Z", "num_procs": 0,
            "pids_stats": {{"current": 3}}, "memory_stats": {{"usage": 1806336, "limit": 134217728}},
            "cpu_stats": {{"cpu_usage": {{"total_usage": {}, "percpu_usage": [182359190, 178608875],
                "usage_in_kernelmode": 40000000, "usage_in_usermode": 290000000}},
                "system_cpu_usage": {}, "online_cpus": {cores},
                "throttling_data": {{"periods": 0, "throttled_periods": 0, "throttled_time": 0}}}},
            "precpu_stats": {{"cpu_usage": {{"total_usage": {}}}, "system_cpu_usage": {}, "online_cpus": {cores}}},
            "name": "/ecs-curltest-26-curl-c2e5f6e0cf91b0bead01", "networks": {{"eth0": {{"rx_bytes": 84}}}}}}"#,
        now.0, now.1, before.0, before.1
    )
}

/// A task with this container and others, each with its share.
fn task_text(limits: &str, own: &str, others: &[&str]) -> String {
    let others = others.iter().map(|share| format!(r#", {{"DockerId": "other", "Limits": {share}}}"#));
    format!(
        r#"{{"Cluster": "default", "LaunchType": "EC2", "Family": "curltest", "Revision": "26" {limits},
            "Containers": [{{"DockerId": "{OWN}", "Name": "curl", "Limits": {own}}}{}]}}"#,
        others.collect::<String>()
    )
}

fn cores(limits: &str, own: &str, others: &[&str]) -> f64 {
    parse_cores("url", &task_text(limits, own, others), OWN, 2.0).unwrap()
}

fn problem<T: std::fmt::Debug>(result: Result<T, CaptureError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn both_looks_are_read() {
    let stats = parse_stats("url", &stats_text((100, 9_007_199_254_740_993), (150, 9_007_199_254_741_093), 2)).unwrap();
    let expected = Stats {
        used: 150,
        system: 9_007_199_254_741_093,
        used_before: 100,
        system_before: 9_007_199_254_740_993,
        cores: 2.0,
    };
    assert_eq!(stats, expected);
    let first = r#"{"cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 7, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 0}}}"#;
    assert_eq!(percent("url", &parse_stats("url", first).unwrap(), 2.0), Ok(0.0));
}

#[test]
fn what_makes_no_sense_is_told() {
    assert_eq!(problem(parse_stats("url", "")), "not JSON, source=url value=''");
    assert_eq!(problem(parse_stats("url", "<html>")), "not JSON, source=url value='<html>'");
    for text in ["null", "[]", r#"{"cpu_stats": {}}"#, &stats_text((0, 0), (1, 1), 0)] {
        let error = problem(parse_stats("url", text));
        assert!(error.starts_with("there are no CPU statistics, source=url value='"), "{error}");
    }
    assert_eq!(problem(parse_container("url", "{}")), "the container has no id, source=url value='{}'");
    assert_eq!(problem(parse_cores("url", "{}", OWN, 2.0)), "the task has no containers, source=url value='{}'");
}

#[test]
fn cores_are_the_tasks_by_the_containers_shares() {
    assert_eq!(cores("", r#"{"CPU": 50}"#, &[]), 2.0, "no limit");
    assert_eq!(cores(r#", "Limits": {"Memory": 128}"#, r#"{"CPU": 50}"#, &[]), 2.0, "a limit of memory only");
    assert_eq!(cores(r#", "Limits": {"CPU": 0.25, "Memory": 512}"#, r#"{"CPU": 2}"#, &[]), 0.25, "Fargate");
    assert_eq!(cores("", r#"{"CPU": 50}"#, &[r#"{"CPU": 30}"#]), 1.25);
    assert_eq!(cores(r#", "Limits": {"CPU": 8}"#, r#"{"CPU": 10}"#, &[r#"{"CPU": 30}"#]), 2.0);
}

#[test]
fn a_container_without_a_share_has_the_least() {
    assert_eq!(cores("", "{}", &[]), 2.0);
    assert_eq!(cores("", r#"{"CPU": 0}"#, &[r#"{"CPU": 0}"#]), 1.0);
    assert_eq!(cores("", "null", &[r#"{"CPU": 6}"#]), 0.5);
    let unlisted = parse_cores("url", &task_text("", r#"{"CPU": 6}"#, &[]), "someone", 2.0);
    assert_eq!(unlisted, Ok(0.5));
}

#[test]
fn busy_is_the_part_of_the_machine_by_the_cores() {
    let percent_of = |before, now, online, cores| {
        percent("url", &parse_stats("url", &stats_text(before, now, online)).unwrap(), cores)
    };
    let before = (100_000_000, 100_000_000);
    assert_eq!(percent_of(before, (150_000_000, 200_000_000), 2, 2.0), Ok(50.0));
    assert_eq!(percent_of(before, (150_000_000, 200_000_000), 2, 1.25), Ok(80.0));
    assert_eq!(percent_of(before, (150_000_000, 200_000_000), 2, 4.0), Ok(25.0));
    assert_eq!(percent_of(before, (150_000_000, 200_000_000), 2, 0.25), Ok(100.0), "above its share");
    assert_eq!(percent_of((0, 0), (150_000_000, 200_000_000), 2, 2.0), Ok(0.0), "the first look");
    assert_eq!(percent_of(before, (150_000_000, 100_000_000), 2, 2.0), Ok(100.0), "all there was");
    assert_eq!(percent_of(before, before, 2, 2.0), Ok(0.0), "the same look twice");
    let back = problem(percent_of(before, (99_999_999, 200_000_000), 2, 2.0));
    assert!(back.starts_with("the counters went back, source=url value='Stats { used: 99999999,"), "{back}");
}

/// Answers with what was put there, and notes what was asked.
#[derive(Default)]
struct Documents {
    texts: Mutex<BTreeMap<String, String>>,
    asked: Mutex<Vec<String>>,
}

impl Documents {
    fn put(&self, path: &str, text: String) {
        self.texts.lock().unwrap().insert(format!("{ADDRESS}{path}"), text);
    }
}

#[async_trait]
impl Fetch for Documents {
    async fn get(&self, url: &str) -> Result<String, CaptureError> {
        self.asked.lock().unwrap().push(url.strip_prefix(ADDRESS).unwrap().to_owned());
        self.texts.lock().unwrap().get(url).cloned().ok_or_else(|| CaptureError::unreadable(url, "404"))
    }
}

#[tokio::test]
async fn limits_are_asked_once_and_not_before_they_are_known() {
    let documents = Arc::new(Documents::default());
    let mut gauge = EcsTask::new(format!("{ADDRESS}/"), documents.clone());
    let now = Moment::at(Duration::ZERO);
    assert!(problem(gauge.capture(now).await).ends_with("/v4/5fc21e5b/stats"));
    documents.put("/stats", stats_text((0, 0), (100, 100), 2));
    documents.put("", format!(r#"{{"DockerId": "{OWN}", "Name": "curl"}}"#));
    assert!(problem(gauge.capture(now).await).ends_with("/v4/5fc21e5b/task"));
    documents.put("/task", task_text("", r#"{"CPU": 50}"#, &[r#"{"CPU": 30}"#]));
    assert_eq!(gauge.capture(now).await, Ok(0.0));
    documents.put("/stats", stats_text((100, 100), (150, 200), 2));
    assert_eq!(gauge.capture(now).await, Ok(80.0));
    let asked = documents.asked.lock().unwrap().join(" ");
    assert_eq!(asked, "/stats /stats  /task /stats  /task /stats");
}
