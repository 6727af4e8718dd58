//! Leases that change hands between workers that are alive.

use std::time::Duration;

use kinetide::lease::{Lease, LeaseKey, LeaseTable};
use kinetide::stream::{Checkpoint, WorkerId};
use kinetide::{Event, Settings};

use crate::world::{World, assert_each_once};

/// Puts numbers, twenty a second.
async fn put(world: &World, first: u32, seconds: u32) {
    for second in 0..seconds {
        world.put(first + second * 20..first + (second + 1) * 20);
        world.wait(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn workers_that_join_get_their_share_and_no_record_comes_twice() {
    let world = World::new(8);
    let first = world.start("a").await;
    put(&world, 0, 5).await;
    let second = world.start("b").await;
    let third = world.start("c").await;
    put(&world, 100, 30).await;
    world.wait(5).await;
    assert_each_once(&world.story.records(), 700);
    let owners = world.owners().await;
    assert!(owners.values().all(|count| (2..=3).contains(count)), "{owners:?}");
    let asked = world.count(|event| matches!(event, Event::HandOffAsked { .. }));
    assert!(asked >= 5, "{asked}");
    assert_eq!(world.story.count("shutdown_requested"), world.story.count("lease_lost"));
    [first, second, third].iter().for_each(|worker| worker.handle.stop());
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_delivers_everything_once() {
    let world = World::new(6);
    let mut running = Vec::new();
    for name in ["a", "b", "c"] {
        running.push(world.start(name).await);
    }
    world.wait(30).await;
    let mut first = 0;
    for (index, away) in [(0, 0), (1, 3), (2, 8)] {
        put(&world, first, 10).await;
        running[index].handle.shutdown();
        put(&world, first + 200, away).await;
        running.push(world.start(["a2", "b2", "c2"][index]).await);
        first += 200 + away * 20;
    }
    put(&world, first, 20).await;
    world.wait(5).await;
    assert_each_once(&world.story.records(), first + 400);
    running.iter().for_each(|worker| worker.handle.stop());
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_hangs_gives_way_in_the_end() {
    let settings = Settings { hand_off_time: Duration::from_secs(20), ..Settings::default() };
    let world = World { settings, ..World::new(2) };
    world.stream.put("key", "hang").unwrap();
    let first = world.start("a").await;
    world.wait(5).await;
    let second = world.start("b").await;
    world.wait(60).await;
    assert_eq!(world.owners().await.values().copied().collect::<Vec<_>>(), [1, 1]);
    first.handle.stop();
    second.handle.stop();
}

/// A worker of 2.x: it renews by the counter alone, and does not know what a hand-off is.
async fn renew_like_java(world: &World, seconds: u64, me: &WorkerId) {
    for _ in 0..seconds {
        for lease in world.table.list().await.unwrap() {
            let is_held = lease.actual_owner() == Some(me);
            if is_held {
                let blind = Lease { checkpoint_owner: Some(me.clone()), ..lease };
                world.table.update(&blind.renew()).await.unwrap();
            }
        }
        world.wait(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_knows_no_hand_off_loses_the_lease_after_a_failover_time() {
    let world = World::new(4);
    let java: WorkerId = "java".parse().unwrap();
    world.table.prepare().await.unwrap();
    for index in 0..4 {
        let lease = Lease::new(format!("shardId-{index:012}").parse::<LeaseKey>().unwrap(), Checkpoint::TrimHorizon);
        world.table.create(&lease).await.unwrap();
        world.table.update(&lease.take(&java)).await.unwrap();
    }
    let worker = world.start("a").await;
    renew_like_java(&world, 9, &java).await;
    assert_eq!(world.story.count("initialize TRIM_HORIZON"), 0);
    renew_like_java(&world, 10, &java).await;
    let owners = world.owners().await;
    assert_eq!((owners["a"], owners["java"]), (2, 2));
    let asked = world.count(|event| matches!(event, Event::HandOffAsked { .. }));
    assert!((1..=2).contains(&asked), "asked {asked} times");
    worker.handle.stop();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_while_it_waits_leaves_the_lease_where_it_was() {
    let world = World::new(2);
    world.stream.put("key", "hang").unwrap();
    let first = world.start("a").await;
    world.wait(5).await;
    // The one it asks for first may be handed over; the other hangs.
    let second = world.start("b").await;
    world.wait(3).await;
    second.handle.shutdown();
    second.task.await.unwrap().unwrap();
    world.wait(2).await;
    let rows = world.table.list().await.unwrap();
    assert!(rows.iter().all(|row| row.checkpoint_owner.is_none()), "{rows:?}");
    assert_eq!(world.owners().await.get("a"), Some(&2));
    first.handle.stop();
}
