//! The streams a worker reads: one, or many under one application.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lease::LeaseKey;
use crate::stream::{InitialPosition, StreamId, StreamSource};

/// One of them.
#[derive(Clone)]
pub(super) struct Tracked {
    /// Its identifier, if the application reads many streams.
    pub(super) id: Option<StreamId>,
    /// Where it is read from.
    pub(super) source: Arc<dyn StreamSource>,
    /// Where its shards start without a checkpoint.
    pub(super) initial_position: InitialPosition,
}

impl Tracked {
    /// Its name for people: the identifier if there is one.
    pub(super) fn name(&self) -> String {
        self.id.as_ref().map_or_else(|| self.source.stream().to_string(), ToString::to_string)
    }
}

/// The streams of a worker; cheap to clone.
#[derive(Clone)]
pub(super) struct Streams(Arc<BTreeMap<Option<StreamId>, Tracked>>);

impl Streams {
    /// These, by their identifiers; of several with the same one, the last.
    pub(super) fn new(streams: impl IntoIterator<Item = Tracked>) -> Self {
        Self(Arc::new(streams.into_iter().map(|stream| (stream.id.clone(), stream)).collect()))
    }

    /// All of them, in the order of their identifiers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.0.values()
    }

    /// The stream of a lease, if this worker reads it.
    pub(super) fn of(&self, lease: &LeaseKey) -> Option<&Tracked> {
        self.0.get(&lease.stream)
    }

    /// True if leases name their streams.
    pub(super) fn are_many(&self) -> bool {
        !self.0.contains_key(&None)
    }
}
