//! What the workers of a 3.x fleet tell about themselves, so that the leader can give each what it can carry.
//!
//! Each worker writes one item, [`item::WorkerMetrics`]; the leader reads them all. What a worker writes is made here:
//! [`select`] finds out what kind of machine this is, [`capture`] reads its counters, [`collect`] does so every second
//! into a [`series`], and [`report`] makes the item of it. Writing it is the table's business.

pub mod capture;
pub mod collect;
pub mod item;
pub mod report;
pub mod select;
pub mod series;
