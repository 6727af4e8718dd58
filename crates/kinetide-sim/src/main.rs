//! The command: one seed or many. It ends with 1 if a rule was broken, or if something never occurred in many seeds.

use std::io::{BufWriter, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::Parser;
use kinetide_sim::experiment::{cost, scale};
use kinetide_sim::run::{Outcome, run};
use kinetide_sim::scenario::Scenario;
use kinetide_sim::summary::Summary;

/// Runs whole fleets of workers in virtual time over services that fail, and checks that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "kinetide-sim")]
struct Arguments {
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Many seeds, the last one excluded.
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// The kind of run; without it each seed draws its own. `cost` and `scale` measure fleets that nothing disturbs.
    #[arg(long)]
    scenario: Option<Kind>,
    /// Prints everything that happened, one line each.
    #[arg(long, conflicts_with = "seeds")]
    trace: bool,
    /// Seeds run at once, each on its own thread. By default as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Drawn(Scenario),
    Cost,
    Scale,
}

impl clap::ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Kind; Scenario::ALL.len() + 2] = {
            let mut all = [Kind::Scale; Scenario::ALL.len() + 2];
            let mut index = 0;
            while index < Scenario::ALL.len() {
                all[index] = Kind::Drawn(Scenario::ALL[index]);
                index += 1;
            }
            all[index] = Kind::Cost;
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let name = match self {
            Self::Drawn(scenario) => scenario.name(),
            Self::Cost => "cost",
            Self::Scale => "scale",
        };
        Some(clap::builder::PossibleValue::new(name))
    }
}

fn parse_range(text: &str) -> Result<Range<u64>> {
    let (first, end) = text.split_once("..").context("expected A..B")?;
    let range = first.parse()?..end.parse()?;
    anyhow::ensure!(!range.is_empty(), "the range is empty");
    Ok(range)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let scenario = match arguments.scenario {
        Some(Kind::Cost) => return cost::run(arguments.seed.unwrap_or_default()),
        Some(Kind::Scale) => return scale::run(arguments.seed.unwrap_or_default()),
        Some(Kind::Drawn(scenario)) => Some(scenario),
        None => None,
    };
    match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => one(seed, scenario, arguments.trace),
        (None, Some(seeds)) => many(seeds, scenario, arguments.jobs),
        (None, None) => anyhow::bail!("give --seed or --seeds"),
    }
}

fn one(seed: u64, scenario: Option<Scenario>, trace: bool) -> Result<ExitCode> {
    let outcome = run(seed, scenario)?;
    let is_broken = !outcome.violations.is_empty();
    if trace || is_broken {
        print_log(&outcome)?;
    }
    if is_broken {
        return Ok(ExitCode::FAILURE);
    }
    let mut summary = Summary::default();
    summary.add(&outcome);
    println!("{summary}");
    Ok(ExitCode::SUCCESS)
}

/// The plan, what happened, and at the end what was wrong with it.
fn print_log(outcome: &Outcome) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "seed {}: {:?}", outcome.plan.seed, outcome.plan)?;
    for entry in &outcome.entries {
        writeln!(out, "{entry}")?;
    }
    for violation in &outcome.violations {
        writeln!(out, "VIOLATION {violation}")?;
    }
    if !outcome.violations.is_empty() {
        let (seed, scenario) = (outcome.plan.seed, outcome.plan.scenario.name());
        writeln!(out, "seed {seed} failed; repeat with --seed {seed} --scenario {scenario}")?;
    }
    out.flush()
}

/// What the threads of a range share.
struct Sweep {
    next: AtomicU64,
    end: AtomicU64,
    summary: Mutex<Summary>,
    failed: Mutex<Option<Outcome>>,
}

impl Sweep {
    /// Runs one seed after the other until they are used up, or one has failed and all before it are done.
    fn work(&self, scenario: Option<Scenario>) -> Result<()> {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end.load(Ordering::Relaxed) {
                return Ok(());
            }
            let outcome = run(seed, scenario)?;
            if outcome.violations.is_empty() {
                self.summary.lock().unwrap_or_else(PoisonError::into_inner).add(&outcome);
                continue;
            }
            self.end.fetch_min(seed, Ordering::Relaxed);
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.as_ref().is_none_or(|failed| failed.plan.seed > seed) {
                *failed = Some(outcome);
            }
        }
    }
}

fn many(seeds: Range<u64>, scenario: Option<Scenario>, jobs: Option<usize>) -> Result<ExitCode> {
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let sweep = Sweep {
        next: AtomicU64::new(seeds.start),
        end: AtomicU64::new(seeds.end),
        summary: Mutex::default(),
        failed: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| sweep.work(scenario))).collect();
        let ends = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a run panicked")));
        ends.collect::<Result<Vec<()>>>()
    })?;
    if let Some(outcome) = sweep.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        print_log(&outcome)?;
        return Ok(ExitCode::FAILURE);
    }
    let summary = sweep.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{summary}");
    let unseen = summary.unseen(scenario);
    if unseen.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("never seen: {}", unseen.join(", "));
    Ok(ExitCode::FAILURE)
}
