//! Whole fleets in virtual time: real workers over a lease table and a stream in memory that fail on purpose, a history of
//! everything that happened, and checkers that read it.
//!
//! One seed is one run. Everything random is drawn from it ([`plan`]), everything runs on one thread and on tokio's paused
//! clock, so the same seed gives the same history, in any process. A run has two phases: while it is disturbed only safety
//! is asked for ([`check`]); then everything is healed and progress is demanded ([`settle`]).
//!
//! | File | Its job |
//! |---|---|
//! | [`plan`], [`scenario`] | what a run is made of, drawn from its seed |
//! | [`fault`], [`link`] | the kinds of faults; one worker's connection to the services, which injects them |
//! | [`table`], [`source`] | the two seams of a worker, seen through its link |
//! | [`processor`] | processors that tell the history what they are given, and checkpoint by a drawn policy |
//! | [`fleet`], [`director`] | workers that come and go; who disturbs them, and when |
//! | [`history`], [`check`], [`settle`] | what happened; what must hold; what must come to hold |
//! | [`run`], [`summary`] | one seed; many |
//! | [`experiment`] | fleets that nothing disturbs: what they cost, how they scale |
//!
//! It is not for anything that needs sockets or real time.

pub mod check;
pub mod director;
pub mod experiment;
pub mod fault;
pub mod fleet;
pub mod history;
pub mod link;
pub mod plan;
pub mod processor;
pub mod run;
pub mod scenario;
pub mod settle;
pub mod source;
pub mod summary;
pub mod table;
pub mod trace;
