//! Who should own what: pure plans over a snapshot of the lease table.

pub mod assign;
pub mod hand_off;
pub mod observe;
pub mod take;
