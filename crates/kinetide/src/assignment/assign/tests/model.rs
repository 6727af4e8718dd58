//! A little fleet that does what its leader plans: leases carry throughput, throughput makes workers busy, workers
//! report it half a minute at a time, and hand-offs take their time.

use std::time::Duration;

use super::super::{Action, AssignSettings, Memory, Snapshot, plan};
use super::{WALL, java, lease, metrics, worker};
use crate::assignment::observe::Observations;
use crate::clock::Moment;
use crate::coordinator::worker_metrics::item::WorkerMetrics;
use crate::lease::Lease;
use crate::rng::Rng;
use crate::stream::WorkerId;

/// Seconds from one look at the fleet to the next.
const TICK: u64 = 5;

/// Who decides.
pub(super) enum Leader {
    Ours(Memory),
    Java(java::Memory),
}

/// A worker of the model.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// What it can process at 100 %.
    pub(super) capacity_kbps: f64,
    /// What it uses for itself, in percent.
    pub(super) idle_percent: f64,
    /// It writes no metrics of its own.
    pub(super) is_plain: bool,
    samples: Vec<f64>,
    sum: f64,
    phase: u64,
    updated_at: u64,
}

/// A lease of the model.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub(super) kbps: f64,
    /// As the table has it.
    owner: Option<usize>,
    /// While a hand-off is pending: from whom, and when it is done.
    handing: Option<(usize, u64)>,
    /// Who processes it, from when on.
    reader: Option<(usize, u64)>,
}

/// How long things take in the model, and how exact figures are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A hand-off takes so long at least, in seconds, and up to five more.
    pub(super) hand_off: u64,
    /// Samples are wrong by so much at most.
    pub(super) noise: f64,
}

pub(super) struct Model {
    pub(super) machines: Vec<Machine>,
    pub(super) shards: Vec<Shard>,
    pub(super) pace: Pace,
    pub(super) settings: AssignSettings,
    pub(super) leader: Leader,
    /// Hand-offs so far.
    pub(super) moves: usize,
    /// Leases given out that nobody had.
    pub(super) assigned: usize,
    second: u64,
    observations: Observations,
    rng: Rng,
    ids: Vec<WorkerId>,
    /// A row for each lease, with nothing in it.
    blank: Vec<Lease>,
}

/// How even a fleet is, in what its workers will be at when every hand-off is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evenness {
    /// The greatest distance from the average, as a part of it.
    pub(super) deviation: f64,
    /// From the lowest to the highest, as a part of the average.
    pub(super) spread: f64,
}

impl Machine {
    pub(super) fn new(capacity_kbps: f64) -> Self {
        Self {
            capacity_kbps,
            idle_percent: 0.0,
            is_plain: false,
            samples: Vec::new(),
            sum: 0.0,
            phase: 0,
            updated_at: 0,
        }
    }

    pub(super) fn plain(self, is_plain: bool) -> Self {
        Self { is_plain, ..self }
    }

    pub(super) fn idle(self, idle_percent: f64) -> Self {
        Self { idle_percent, ..self }
    }
}

impl Shard {
    pub(super) fn new(owner: Option<usize>, kbps: f64) -> Self {
        Self { kbps, owner, handing: None, reader: owner.map(|owner| (owner, 0)) }
    }

    /// Who processes it, or will once it is picked up.
    fn actual(&self) -> Option<usize> {
        self.handing.map(|(from, _)| from).or(self.owner)
    }
}

impl Model {
    pub(super) fn new(machines: Vec<Machine>, shards: Vec<Shard>, leader: Leader, seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let mut machines = machines;
        for machine in &mut machines {
            machine.phase = TICK * rng.below(6) as u64;
        }
        Self {
            ids: (0..machines.len()).map(worker).collect(),
            blank: (0..shards.len()).map(|index| lease(index, None, None)).collect(),
            machines,
            shards,
            pace: Pace { hand_off: 3, noise: 0.0 },
            settings: AssignSettings::default(),
            leader,
            moves: 0,
            assigned: 0,
            second: 0,
            observations: Observations::default(),
            rng,
        }
    }

    /// Lets time pass without a leader, so that metrics settle.
    pub(super) fn settle(&mut self) {
        while self.second < 330 {
            self.tick();
        }
    }

    /// One run of the leader, and the 20 seconds up to the next.
    pub(super) fn run(&mut self) {
        self.lead();
        for _ in 0..20 / TICK {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.second += TICK;
        for shard in &mut self.shards {
            if let Some((_, done_at)) = shard.handing
                && self.second >= done_at
            {
                shard.handing = None;
                // The next owner looks every ten seconds.
                shard.reader = shard.owner.map(|owner| (owner, self.second + self.rng.below(10) as u64));
            }
        }
        let loads =
            self.loads(|shard, second| shard.reader.filter(|(_, from)| *from <= second).map(|(reader, _)| reader));
        for (machine, load) in self.machines.iter_mut().zip(loads) {
            machine.sum += (machine.idle_percent + 100.0 * load / machine.capacity_kbps).min(100.0);
            if (self.second + machine.phase).is_multiple_of(30) {
                let noise = 1.0 + self.pace.noise * (2.0 * self.rng.unit() - 1.0);
                machine.samples.push((machine.sum / (30 / TICK) as f64 * noise).min(100.0));
                let surplus = machine.samples.len().saturating_sub(10);
                machine.samples.drain(..surplus);
                machine.sum = 0.0;
                machine.updated_at = WALL + self.second;
            }
        }
    }

    fn loads(&self, of: impl Fn(&Shard, u64) -> Option<usize>) -> Vec<f64> {
        let mut loads = vec![0.0; self.machines.len()];
        for shard in &self.shards {
            if let Some(machine) = of(shard, self.second) {
                loads[machine] += shard.kbps;
            }
        }
        loads
    }

    /// What each worker will be at when every hand-off is done, in percent.
    pub(super) fn busy(&self) -> Vec<f64> {
        let loads = self.loads(|shard, _| shard.owner).into_iter().zip(&self.machines);
        loads.map(|(load, machine)| machine.idle_percent + 100.0 * load / machine.capacity_kbps).collect()
    }

    pub(super) fn evenness(&self) -> Evenness {
        let busy = self.busy();
        let average = busy.iter().sum::<f64>() / busy.len() as f64;
        let (low, high) =
            busy.iter().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
        Evenness { deviation: (high - average).max(average - low) / average, spread: (high - low) / average }
    }

    /// How many leases each worker will have.
    pub(super) fn counts(&self) -> Vec<usize> {
        (0..self.machines.len())
            .map(|index| self.shards.iter().filter(|shard| shard.owner == Some(index)).count())
            .collect()
    }

    /// How many hand-offs it takes at least until everybody is within 10 % of the average: largest leases first, and as
    /// if what is given could be divided evenly among those below the average.
    pub(super) fn fewest_moves(&self) -> usize {
        self.fewest_given().max(self.fewest_received())
    }

    fn fewest_given(&self) -> usize {
        let average = |busy: &[f64]| busy.iter().sum::<f64>() / busy.len() as f64;
        let (mut busy, mut moves) = (self.busy(), 0);
        let limit = average(&busy);
        let below: Vec<usize> = (0..busy.len()).filter(|index| busy[*index] < limit).collect();
        let room: f64 = below.iter().map(|index| self.machines[*index].capacity_kbps).sum();
        for (index, machine) in self.machines.iter().enumerate() {
            let mut sizes = self.sizes(|owner| owner == Some(index));
            while busy[index] > 1.1 * average(&busy) + 1e-6 {
                let Some(size) = sizes.pop() else { break };
                busy[index] -= 100.0 * size / machine.capacity_kbps;
                below.iter().for_each(|receiver| busy[*receiver] += 100.0 * size / room);
                moves += 1;
            }
        }
        moves
    }

    fn fewest_received(&self) -> usize {
        let (busy, mut sizes, mut moves) = (self.busy(), self.sizes(|_| true), 0);
        let capacity: f64 = self.machines.iter().map(|machine| machine.capacity_kbps).sum();
        let alike = 100.0 * sizes.iter().sum::<f64>() / capacity;
        let average = alike.min(busy.iter().sum::<f64>() / busy.len() as f64);
        for (busy, machine) in busy.iter().zip(&self.machines) {
            let mut lacks = (0.9 * average - busy) * machine.capacity_kbps / 100.0;
            while lacks > 1e-6 {
                lacks -= sizes.pop().unwrap_or(lacks);
                moves += 1;
            }
        }
        moves
    }

    /// The sizes of some leases, the largest last.
    fn sizes(&self, of: impl Fn(Option<usize>) -> bool) -> Vec<f64> {
        let mut sizes: Vec<f64> = self.shards.iter().filter(|shard| of(shard.owner)).map(|shard| shard.kbps).collect();
        sizes.sort_by(f64::total_cmp);
        sizes
    }

    /// The lease table.
    pub(super) fn rows(&self) -> Vec<Lease> {
        let row = |(row, shard): (&Lease, &Shard)| Lease {
            owner: shard.owner.map(|owner| self.ids[owner].clone()),
            checkpoint_owner: shard.handing.map(|(from, _)| self.ids[from].clone()),
            counter: if shard.actual().is_some() { 1 + self.second / 3 } else { 0 },
            throughput_kbps: Some(shard.kbps),
            ..row.clone()
        };
        self.blank.iter().zip(&self.shards).map(row).collect()
    }

    pub(super) fn metrics(&self) -> Vec<WorkerMetrics> {
        let item = |(index, machine): (usize, &Machine)| {
            let samples = if machine.is_plain { &[][..] } else { &machine.samples };
            metrics(index, machine.updated_at, samples)
        };
        let written = self.machines.iter().enumerate().filter(|(_, machine)| machine.updated_at > 0);
        written.map(item).collect()
    }

    fn lead(&mut self) {
        let (rows, metrics) = (self.rows(), self.metrics());
        let now = Moment::at(Duration::from_secs(1000 + self.second));
        self.observations.update(&rows, now);
        let snapshot = Snapshot {
            leases: &rows,
            observations: &self.observations,
            metrics: &metrics,
            now,
            now_seconds: WALL + self.second,
        };
        let actions = match &mut self.leader {
            Leader::Ours(memory) => plan(&snapshot, &self.settings, memory, &mut self.rng).actions,
            Leader::Java(memory) => java::run(&snapshot, &self.settings, memory, &mut self.rng),
        };
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        let number = |name: &str| name.rsplit('-').next().and_then(|digits| digits.parse::<usize>().ok()).unwrap();
        for action in actions {
            let (Action::Assign { lease, to } | Action::HandOff { lease, to }) = &action else {
                panic!("nothing is stale here");
            };
            let (shard, to) = (&mut self.shards[number(lease.key.shard.as_str())], number(to.as_str()));
            if matches!(action, Action::Assign { .. }) {
                (shard.owner, shard.handing) = (Some(to), None);
                shard.reader = Some((to, self.second + self.rng.below(10) as u64));
                self.assigned += 1;
            } else {
                assert!(shard.handing.is_none(), "one at a time");
                let done_at = self.second + self.pace.hand_off + self.rng.below(5) as u64;
                shard.handing = shard.owner.map(|from| (from, done_at));
                shard.owner = Some(to);
                self.moves += 1;
            }
        }
    }
}
