//! Where an exploration plays: its configuration, the names in it, the plans made so far.

use std::rc::Rc;

use super::config::Config;
use super::invariants::Violation;
use super::looking::{Looked, Planner};
use super::rows::Names;
use super::worker::take_step;
use super::world::World;

pub(crate) struct Stage {
    pub(crate) config: Config,
    pub(crate) names: Names,
    planner: Planner,
}

impl Stage {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, names: Names::new(config.workers, config.children), planner: Planner::new(&config) }
    }

    /// A look by this worker, in this state.
    ///
    /// # Errors
    /// [`Violation`] when it leads to what it must not.
    pub(crate) fn look(&self, world: &World, by: usize) -> Result<Rc<Looked>, Violation> {
        self.planner.look(&self.config, &self.names, world, by)
    }

    /// The state after the prelude, in its normal form.
    ///
    /// # Errors
    /// [`Violation`] when the prelude itself breaks a promise.
    pub(crate) fn first(&self) -> Result<World, Violation> {
        let first = World::first(&self.config);
        let mut world = self.config.prelude.iter().try_fold(first, |world, step| take_step(self, &world, *step))?;
        world.normalise(&self.config);
        Ok(world)
    }
}
