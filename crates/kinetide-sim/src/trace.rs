//! A history as text, one line per entry.

use std::fmt;

use crate::history::{Entry, What};

/// Virtual seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Seconds(self.at);
        match self.who.0 {
            0 => write!(f, "{at}      {}", self.what),
            life => write!(f, "{at} #{life:<3} {}", self.what),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { shard, sequence } => write!(f, "put {sequence} into {shard}"),
            Self::Resharded { parents, children } => write!(f, "reshard {parents:?} into {children:?}"),
            Self::Write { operation, key, before, after } => {
                write!(f, "write {operation} {key}")?;
                for (word, row) in [("from", before), ("to", after)] {
                    match row {
                        Some(row) => {
                            let owner = row.owner.as_ref().map_or("nobody", |owner| owner.as_str());
                            write!(f, " {word} {owner}/{}/{}", row.counter, row.checkpoint)?;
                        }
                        None => write!(f, " {word} nothing")?,
                    }
                }
                Ok(())
            }
            Self::Started { worker } => write!(f, "started as {worker}"),
            Self::Asked { is_orderly: true } => f.write_str("asked to shut down"),
            Self::Asked { is_orderly: false } => f.write_str("asked to stop"),
            Self::Ended { error: None } => f.write_str("ended"),
            Self::Ended { error: Some(error) } => write!(f, "ended: {error}"),
            Self::Began { tenure, shard, token } => write!(f, "tenure {} of {shard} with token {token}", tenure.0),
            Self::Initialized { tenure, checkpoint } => write!(f, "tenure {} begins at {checkpoint}", tenure.0),
            Self::Delivered { tenure, records } => write!(f, "tenure {} is given {records:?}", tenure.0),
            Self::Processed { tenure, sequence } => write!(f, "tenure {} processed {sequence}", tenure.0),
            Self::Returned { tenure, is_ok: true } => write!(f, "tenure {} is done with the batch", tenure.0),
            Self::Returned { tenure, is_ok: false } => write!(f, "tenure {} failed the batch", tenure.0),
            Self::Checkpointed { tenure, last, error: None, .. } => write!(f, "tenure {} is told of {last}", tenure.0),
            Self::Checkpointed { tenure, error: Some(error), .. } => {
                write!(f, "tenure {} did not checkpoint: {error}", tenure.0)
            }
            Self::LeaseLost { tenure } => write!(f, "tenure {} is told that its lease is lost", tenure.0),
            Self::ShardEnded { tenure, is_ok } => write!(f, "tenure {} ends its shard, ok={is_ok}", tenure.0),
            Self::ShutdownRequested { tenure } => write!(f, "tenure {} is asked to finish", tenure.0),
            Self::Told(event) => write!(f, "says: {event}"),
            Self::Fault { fault, detail, millis, shard } => {
                write!(f, "fault {fault:?} {detail}")?;
                if let Some(shard) = shard {
                    write!(f, " {shard}")?;
                }
                if *millis > 0 { write!(f, " {millis} ms") } else { Ok(()) }
            }
            Self::Healed => f.write_str("healed"),
            Self::Settled => f.write_str("settled"),
        }
    }
}
