//! Large fleets: from an empty table to balance, doubled, then half of it killed. Tells the virtual time each takes, the moves
//! beside the fewest there could be, what the table is asked for in a second, and what a lease costs in memory. A tenth of the
//! shards is measured too: the cost of a lease must not grow with their number.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kinetide::Settings;
use kinetide::lease::LeaseTable;
use kinetide::lease::usage::TableUsage;

use super::{Fleet, runtime};

const WORKERS: usize = 100;
const SHARDS: [usize; 2] = [1_000, 10_000];
const BALANCE_MAX: Duration = Duration::from_secs(12 * 3600);
const STEADY: Duration = Duration::from_secs(300);
/// The cost of a lease may differ so much between few shards and many.
const GROWTH_MAX: f64 = 1.25;

/// Prints the table; fails if the cost of a lease grows with the number of shards.
///
/// # Errors
/// When a fleet does not come to balance.
pub fn run(seed: u64) -> anyhow::Result<ExitCode> {
    println!(
        "shards  phase                    balanced after    moves  at least   calls/s    RCU/s    WCU/s  we/lease-hour"
    );
    let mut costs = Vec::new();
    for shards in SHARDS {
        let started = real_now();
        let (cost, bytes) = runtime()?.block_on(phases(shards, seed))?;
        let took = real_now().duration_since(started).as_secs_f64();
        print!("{shards:>6}  {bytes:.0} bytes of memory for a lease in each worker that knows it; ");
        println!("took {took:.0} real seconds\n");
        costs.push(cost);
    }
    let growth = costs[1] / costs[0];
    println!("a lease costs {growth:.2} times as much with ten times the shards (at most {GROWTH_MAX})");
    Ok(if growth <= GROWTH_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The real time, for the person who waits.
#[expect(clippy::disallowed_methods, reason = "how long the experiment itself takes is not part of it")]
fn real_now() -> Instant {
    Instant::now()
}

/// What a lease costs in an hour at the end, in write-equivalents, and how many bytes.
async fn phases(shards: usize, seed: u64) -> anyhow::Result<(f64, f64)> {
    let before = resident_bytes();
    let mut fleet = Fleet::new(shards, Settings::default(), seed)?;
    fleet.add(WORKERS).await?;
    phase(&mut fleet, shards, "100 workers, empty table", 0).await?;
    fleet.add(WORKERS).await?;
    let cost = phase(&mut fleet, shards, "100 more", shards / 2).await?;
    let bytes = resident_bytes().saturating_sub(before) as f64 / (shards * 2 * WORKERS) as f64;
    for _ in 0..WORKERS {
        fleet.kill()?;
    }
    let orphans = fleet.leases().iter().filter(|lease| !is_alive(&fleet, lease)).count();
    phase(&mut fleet, shards, "half of them killed", orphans).await?;
    fleet.stop().await;
    Ok((cost, bytes))
}

fn is_alive(fleet: &Fleet, lease: &kinetide::lease::Lease) -> bool {
    lease.owner.as_ref().is_some_and(|owner| fleet.running.contains_key(owner))
}

/// Waits for balance, then watches the steady fleet for a while.
async fn phase(fleet: &mut Fleet, shards: usize, name: &str, moves_min: usize) -> anyhow::Result<f64> {
    let moves = fleet.moves();
    let took = fleet.balance(shards, BALANCE_MAX).await?;
    let moves = fleet.moves() - moves;
    let before = fleet.table.usage();
    fleet.clock.sleep(STEADY).await;
    let usage = fleet.table.usage().since(&before);
    let (calls, reads, writes) = per_second(&usage);
    let cost = usage.write_equivalents() / shards as f64 * 3600.0 / STEADY.as_secs_f64();
    print!("{shards:>6}  {name:<24} {:>10.1} s {moves:>10} {moves_min:>9}", took.as_secs_f64());
    println!(" {calls:>9.0} {reads:>8.0} {writes:>8.0} {cost:>14.0}");
    Ok(cost)
}

fn per_second(usage: &TableUsage) -> (f64, f64, f64) {
    let seconds = STEADY.as_secs_f64();
    let sum = |of: fn(&kinetide::lease::usage::CallUsage) -> f64| usage.calls.values().map(of).sum::<f64>() / seconds;
    (sum(|usage| usage.calls as f64), sum(|usage| usage.read_units), sum(|usage| usage.write_units))
}

/// Memory of this process; 0 where it cannot be known.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}
