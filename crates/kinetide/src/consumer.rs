//! One shard, from lease to lease lost or shard end: a pure lifecycle ([`state`]) and the task that follows it ([`run`]).

pub mod children;
pub mod run;
pub mod state;
pub mod stop;
pub mod watch;
