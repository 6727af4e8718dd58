//! What the lease table costs, and how promptly a dead worker's leases are taken, for each preset: one virtual hour of a steady
//! fleet, then workers killed one after the other. Beside it what Java costs, and how both change with the look interval.

use std::process::ExitCode;
use std::time::Duration;

use kinetide::Settings;
use kinetide::lease::LeaseTable;
use kinetide::lease::usage::{Call, TableUsage};
use kinetide::settings::Takeover;

use super::{Fleet, java, runtime};

const WORKERS: usize = 4;
const HOUR: Duration = Duration::from_secs(3600);
const KILLS: u32 = 5;
const SETTLE_MAX: Duration = Duration::from_secs(6 * 3600);

/// What one fleet came to.
struct Measured {
    usage: TableUsage,
    /// The longest of several.
    takeover: Duration,
    java: f64,
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.usage.write_equivalents() / self.java
    }

    fn calls(&self, call: Call) -> u64 {
        self.usage.calls.get(&call).map_or(0, |usage| usage.calls)
    }
}

/// Prints both tables; fails if a preset misses its goal.
///
/// # Errors
/// When a fleet does not come to rest.
pub fn run(seed: u64) -> anyhow::Result<ExitCode> {
    let failover = Settings::default().failover_time;
    println!("{WORKERS} workers, one virtual hour, failover time {} s; we: write-equivalents\n", failover.as_secs());
    println!("preset   leases   renewals    scans       we      Java's we   ratio   goal   takeover worst   goal");
    let mut is_missed = false;
    let second = Duration::from_secs(1);
    for (name, takeover, cost_max, takeover_max) in
        [("prompt", Takeover::Prompt, 1.0, failover + second), ("frugal", Takeover::Frugal, 0.75, failover * 2)]
    {
        for leases in [10, 100, 1_000] {
            let measured = measure(leases, Settings { takeover, ..Settings::default() }, seed)?;
            let holds = measured.ratio() <= cost_max && measured.takeover <= takeover_max;
            is_missed |= !holds;
            print!("{name:<8} {leases:>6} {:>10}", measured.calls(Call::update("renew")));
            print!(" {:>8} {:>8.0}", measured.calls(Call::of("Scan")), measured.usage.write_equivalents());
            print!(" {:>14.0} {:>7.2} {cost_max:>6.2}", measured.java, measured.ratio());
            println!(" {:>14.2} s {:>4} s{}", measured.takeover.as_secs_f64(), takeover_max.as_secs(), verdict(holds));
        }
    }
    println!("Java takes over within {} s\n", java::takeover(failover).as_secs());
    curve(seed)?;
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn verdict(holds: bool) -> &'static str {
    if holds { "" } else { "   MISSED" }
}

/// What more frequent looks buy, with the renewals of `prompt`.
fn curve(seed: u64) -> anyhow::Result<()> {
    println!("100 leases, renewed every 4.44 s\nlook interval   scans       we   ratio   takeover worst");
    let failover = Settings::default().failover_time;
    for parts in [64, 32, 16, 8, 4, 2, 1] {
        let look = failover / parts;
        let takeover = Takeover::Intervals { renew: Settings::default().renew_interval(), look };
        let measured = measure(100, Settings { takeover, ..Settings::default() }, seed)?;
        print!("{:>11.2} s {:>7}", look.as_secs_f64(), measured.calls(Call::of("Scan")));
        print!(" {:>8.0} {:>7.2}", measured.usage.write_equivalents(), measured.ratio());
        println!(" {:>14.2} s", measured.takeover.as_secs_f64());
    }
    Ok(())
}

fn measure(leases: usize, settings: Settings, seed: u64) -> anyhow::Result<Measured> {
    let java_calls = java::calls_per_hour(leases, WORKERS, settings.failover_time);
    runtime()?.block_on(async {
        let mut fleet = Fleet::new(leases, settings, seed)?;
        fleet.add(WORKERS).await?;
        fleet.balance(leases, SETTLE_MAX).await?;
        let before = fleet.table.usage();
        fleet.clock.sleep(HOUR).await;
        let usage = fleet.table.usage().since(&before);
        let scans = usage.calls.get(&Call::of("Scan")).copied().unwrap_or_default();
        let scan_units = scans.read_units / scans.calls.max(1) as f64;
        let mut takeover = Duration::ZERO;
        for _ in 0..KILLS {
            takeover = takeover.max(kill(&mut fleet).await?);
            fleet.add(1).await?;
            fleet.balance(leases, SETTLE_MAX).await?;
        }
        fleet.stop().await;
        Ok(Measured { usage, takeover, java: java_calls.write_equivalents(scan_units) })
    })
}

/// How long a dead worker's last lease waits.
async fn kill(fleet: &mut Fleet) -> anyhow::Result<Duration> {
    let any_phase = fleet.rng.duration_to(Duration::from_secs(60));
    fleet.clock.sleep(any_phase).await;
    let victim = fleet.kill()?;
    let killed_at = fleet.clock.monotonic();
    while fleet.leases().iter().any(|lease| lease.owner.as_ref() == Some(&victim)) {
        let passed = fleet.clock.monotonic().since(killed_at);
        anyhow::ensure!(passed < SETTLE_MAX, "the leases of {victim} are never taken");
        fleet.clock.sleep(Duration::from_millis(10)).await;
    }
    Ok(fleet.clock.monotonic().since(killed_at))
}
