use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::lease::{MemoryLeaseTable, Prepared};
use crate::stream::RecordPosition;

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is applied and its answer is lost.
    AnswerLost,
    /// It is not applied.
    Throttled,
    /// It never ends.
    Hangs,
}

/// A memory table whose next writes go wrong as told.
#[derive(Debug, Clone)]
struct FaultyTable {
    rows: MemoryLeaseTable,
    faults: Arc<Mutex<Vec<Fault>>>,
}

#[async_trait]
impl LeaseTable for FaultyTable {
    fn name(&self) -> &str {
        self.rows.name()
    }

    async fn prepare(&self) -> Result<Prepared, TableError> {
        self.rows.prepare().await
    }

    async fn list(&self) -> Result<Vec<Lease>, TableError> {
        self.rows.list().await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        self.rows.get(key).await
    }

    async fn create(&self, lease: &Lease) -> Result<Claim, TableError> {
        self.rows.create(lease).await
    }

    async fn update(&self, update: &LeaseUpdate) -> Result<Claim, TableError> {
        let fault = self.faults.lock().unwrap().pop();
        match fault {
            None => self.rows.update(update).await,
            Some(Fault::AnswerLost) => {
                self.rows.update(update).await?;
                Err(TableError::new(TableErrorKind::Ambiguous, "UpdateItem", "leases", "no answer"))
            }
            Some(Fault::Throttled) => {
                Err(TableError::new(TableErrorKind::Throttled, "UpdateItem", "leases", "too many"))
            }
            Some(Fault::Hangs) => std::future::pending().await,
        }
    }

    async fn delete(&self, key: &LeaseKey) -> Result<(), TableError> {
        self.rows.delete(key).await
    }
}

struct World {
    table: FaultyTable,
    clock: Clock,
    key: LeaseKey,
    handle: LeaseHandle,
}

/// A lease held by "me", taken just now.
async fn hold() -> World {
    let table = FaultyTable { rows: MemoryLeaseTable::new("leases"), faults: Arc::default() };
    table.prepare().await.unwrap();
    let lease = Lease::new("shard".parse::<LeaseKey>().unwrap(), Checkpoint::TrimHorizon);
    table.create(&lease).await.unwrap();
    let (me, clock): (WorkerId, _) = ("me".parse().unwrap(), Clock::system());
    let Claim::Won(lease) = table.update(&lease.take(&me)).await.unwrap() else { panic!("the lease is free") };
    let context = KeeperContext {
        table: Arc::new(table.clone()),
        worker: me,
        clock: clock.clone(),
        events: Events::default(),
        failover_time: Duration::from_secs(10),
        renew_interval: Duration::from_millis(3_308),
        hand_off_time: Duration::from_secs(30),
        renewals: Arc::new(Semaphore::new(1)),
    };
    let key = lease.key.clone();
    let (keeper, handle) = Keeper::new(context, lease, clock.monotonic(), Rng::seeded(1));
    tokio::spawn(keeper.run());
    World { table, clock, key, handle }
}

impl World {
    fn fail(&self, faults: &[Fault]) {
        *self.table.faults.lock().unwrap() = faults.to_vec();
    }

    async fn row(&self) -> Lease {
        self.table.get(&self.key).await.unwrap().unwrap()
    }

    async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

fn at(sequence: u64) -> Checkpoint {
    Checkpoint::At(RecordPosition { sequence: sequence.into(), sub_sequence: 0 })
}

#[tokio::test(start_paused = true)]
async fn renews_at_a_third_of_the_failover_time() {
    let world = hold().await;
    world.wait(60).await;
    assert_eq!((world.row().await.counter, world.handle.loss()), (1 + 18, None));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_is_adopted() {
    let world = hold().await;
    world.fail(&[Fault::AnswerLost]);
    world.wait(30).await;
    assert_eq!(world.handle.loss(), None);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_whose_answer_was_lost_is_stored_once() {
    let world = hold().await;
    world.fail(&[Fault::AnswerLost]);
    world.handle.checkpoint(at(5)).await.unwrap();
    let row = world.row().await;
    assert_eq!((row.checkpoint, row.counter), (at(5), 2));
    world.handle.checkpoint(at(6)).await.unwrap();
    assert_eq!((world.row().await.checkpoint, world.handle.loss()), (at(6), None));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_after_a_renewal_whose_answer_was_lost_is_written_anew() {
    let world = hold().await;
    // The renewal is applied unseen and its repetitions are throttled; the checkpoint meets the moved counter.
    world.fail(&[Fault::Throttled, Fault::Throttled, Fault::AnswerLost]);
    world.wait(4).await;
    world.handle.checkpoint(at(5)).await.unwrap();
    assert_eq!((world.row().await.checkpoint, world.handle.loss()), (at(5), None));
}

#[tokio::test(start_paused = true)]
async fn throttled_renewals_are_repeated_within_the_time_left() {
    let world = hold().await;
    world.fail(&[Fault::Throttled; 8]);
    world.wait(30).await;
    assert_eq!(world.handle.loss(), None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_lost_within_the_failover_time() {
    for fault in [Fault::Throttled, Fault::Hangs] {
        let world = hold().await;
        world.fail(&[fault; 10_000]);
        world.wait(9).await;
        assert_eq!(world.handle.loss(), None, "{fault:?}");
        world.wait(2).await;
        assert_eq!(world.handle.loss(), Some(LossReason::Expired), "{fault:?}");
        let error = world.handle.checkpoint(at(5)).await.unwrap_err();
        assert_eq!(error.kind(), CheckpointErrorKind::LeaseLost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_checkpoint_says_so_and_may_be_repeated() {
    let world = hold().await;
    world.fail(&[Fault::Throttled; 3]);
    let error = world.handle.checkpoint(at(5)).await.unwrap_err();
    assert!(error.kind() == CheckpointErrorKind::Throttled && error.is_retryable());
    world.handle.checkpoint(at(5)).await.unwrap();
    assert_eq!(world.row().await.checkpoint, at(5));
}

#[tokio::test(start_paused = true)]
async fn checkpoints_that_overtake_one_another_never_go_back() {
    let world = hold().await;
    world.handle.checkpoint(at(9)).await.unwrap();
    world.handle.checkpoint(at(5)).await.unwrap();
    assert_eq!(world.row().await.checkpoint, at(9));
}

#[tokio::test(start_paused = true)]
async fn a_lower_checkpoint_after_a_lost_answer_never_goes_back() {
    for high in [at(9), Checkpoint::ShardEnd] {
        let world = hold().await;
        world.fail(&[Fault::Throttled, Fault::Throttled, Fault::AnswerLost]);
        let error = world.handle.checkpoint(high.clone()).await.unwrap_err();
        assert!(!error.has_no_side_effects(), "the first attempt was applied");
        world.handle.checkpoint(at(5)).await.unwrap();
        assert_eq!(world.row().await.checkpoint, high);
    }
}

#[tokio::test(start_paused = true)]
async fn one_hung_call_does_not_cost_the_lease() {
    let world = hold().await;
    world.fail(&[Fault::Hangs]);
    world.wait(30).await;
    assert_eq!(world.handle.loss(), None);
    world.fail(&[Fault::Hangs]);
    world.handle.checkpoint(at(5)).await.unwrap();
    assert_eq!(world.row().await.checkpoint, at(5));
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_of_the_same_name_is_a_loss() {
    let world = hold().await;
    world.table.update(&world.row().await.take(&"me".parse().unwrap())).await.unwrap();
    assert_eq!(world.handle.lost().await, LossReason::Taken);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_a_renewal() {
    let world = hold().await;
    for sequence in 1..=20 {
        world.wait(3).await;
        world.handle.checkpoint(at(sequence)).await.unwrap();
    }
    assert_eq!(world.row().await.counter, 1 + 20, "no renewal was needed in between");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_row_is_a_loss() {
    let world = hold().await;
    world.table.update(&world.row().await.take(&"thief".parse().unwrap())).await.unwrap();
    let error = world.handle.checkpoint(at(5)).await.unwrap_err();
    assert_eq!(error.kind(), CheckpointErrorKind::LeaseLost);
    assert_eq!(world.handle.lost().await, LossReason::Taken);
    assert_eq!(world.row().await.checkpoint, Checkpoint::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn a_row_deleted_under_its_owner_is_written_again() {
    let world = hold().await;
    world.handle.checkpoint(at(5)).await.unwrap();
    world.table.delete(&world.key).await.unwrap();
    world.wait(4).await;
    let row = world.row().await;
    assert_eq!((row.checkpoint, row.owner), (at(5), Some("me".parse().unwrap())));
    world.handle.checkpoint(at(6)).await.unwrap();
    assert_eq!((world.row().await.checkpoint, world.handle.loss()), (at(6), None));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_row_that_somebody_else_wrote_again_is_a_loss() {
    let world = hold().await;
    world.table.delete(&world.key).await.unwrap();
    world.table.create(&Lease::new(world.key.clone(), Checkpoint::Latest)).await.unwrap();
    assert_eq!(world.handle.lost().await, LossReason::Taken);
    assert_eq!(world.row().await.checkpoint, Checkpoint::Latest);
}

#[tokio::test(start_paused = true)]
async fn giving_back_clears_the_owner_and_keeps_the_checkpoint() {
    let world = hold().await;
    world.handle.checkpoint(at(5)).await.unwrap();
    world.handle.release().await;
    let row = world.row().await;
    assert_eq!((row.owner, row.checkpoint), (None, at(5)));
    assert_eq!(world.handle.lost().await, LossReason::Released);
}

impl World {
    /// Another worker asks for the lease.
    async fn ask(&self) {
        let claim = self.table.update(&self.row().await.request_hand_off(&"next".parse().unwrap())).await.unwrap();
        assert!(matches!(claim, Claim::Won(_)), "{claim:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_is_noticed_and_the_lease_kept_until_the_processor_has_finished() {
    let world = hold().await;
    world.ask().await;
    world.wait(20).await;
    assert!(world.handle.is_wanted() && world.handle.loss().is_none());
    world.handle.checkpoint(at(5)).await.unwrap();
    world.handle.release().await;
    let row = world.row().await;
    assert_eq!((row.owner, row.checkpoint_owner), (Some("next".parse().unwrap()), None));
    assert_eq!((row.checkpoint, row.owner_switches), (at(5), 1));
    assert_eq!(world.handle.lost().await, LossReason::Released);
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_does_not_finish_loses_the_lease_to_whoever_waits() {
    let world = hold().await;
    world.ask().await;
    assert_eq!(world.handle.lost().await, LossReason::Released);
    assert_eq!(world.row().await.owner, Some("next".parse().unwrap()));
    assert!((30..35).contains(&world.clock.monotonic().since(crate::clock::Moment::at(Duration::ZERO)).as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_during_a_hand_off_is_settled_too() {
    let world = hold().await;
    world.ask().await;
    world.handle.verify();
    world.wait(1).await;
    world.fail(&[Fault::AnswerLost]);
    world.wait(10).await;
    assert_eq!((world.handle.is_wanted(), world.handle.loss()), (true, None));
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_before_the_request_was_noticed_goes_to_whoever_waits() {
    let world = hold().await;
    world.ask().await;
    world.handle.release().await;
    assert_eq!(world.row().await.owner, Some("next".parse().unwrap()));
    assert_eq!(world.handle.lost().await, LossReason::Released);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_withdrawn_leaves_the_lease_as_it_was() {
    let world = hold().await;
    world.ask().await;
    world.wait(5).await;
    assert!(world.handle.is_wanted());
    world.table.update(&world.row().await.withdraw_hand_off()).await.unwrap();
    world.wait(60).await;
    assert!(!world.handle.is_wanted() && world.handle.loss().is_none());
    assert_eq!(world.row().await.owner, Some("me".parse().unwrap()));
}
