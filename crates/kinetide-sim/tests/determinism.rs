//! The same seed gives the same history, in any process: everything else rests on it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn trace(seed: u64, scenario: &str) -> Vec<u8> {
    let seed = seed.to_string();
    let arguments = ["--seed", &seed, "--scenario", scenario, "--trace"];
    let output = Command::new(env!("CARGO_BIN_EXE_kinetide-sim")).args(arguments).output().unwrap();
    assert!(output.status.success(), "seed {seed} of {scenario} failed:\n{}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

#[test]
fn the_same_seed_gives_the_same_trace_in_two_processes() {
    let scenarios =
        ["steady", "crashes", "reshard", "flaky-table", "partition", "pause-resume", "rolling", "chaos", "chaos"];
    for (seed, scenario) in (100..).zip(scenarios) {
        let (first, second) = (trace(seed, scenario), trace(seed, scenario));
        assert!(first.len() > 10_000, "a trace that short tells nothing");
        let (first, second) = (String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
        let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed} of {scenario}");
        assert_eq!(first.len(), second.len(), "seed {seed} of {scenario}");
    }
}
