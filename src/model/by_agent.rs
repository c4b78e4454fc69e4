//! What agents own: found by handle, and counted and listed agent by agent.

use super::{AgentId, Handle};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Something that one agent owns, for as long as it exists.
pub trait Owned {
    /// By which it is found.
    fn handle(&self) -> Handle;
    /// Whose it is.
    fn owner(&self) -> &AgentId;
}

/// What agents own. To ask what one of them has costs nothing for what all the others have.
pub struct ByAgent<T> {
    all: HashMap<Handle, Arc<T>>,
    of: HashMap<AgentId, HashSet<Handle>>,
}

impl<T> Default for ByAgent<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), of: HashMap::new() }
    }
}

impl<T: Owned> ByAgent<T> {
    /// Puts it in, in place of whatever had its handle.
    pub fn insert(&mut self, it: Arc<T>) {
        self.remove(&it.handle());
        let handles = self.of.entry(it.owner().clone()).or_default();
        handles.insert(it.handle());
        self.all.insert(it.handle(), it);
    }

    /// The one with this handle.
    #[must_use]
    pub fn get(&self, handle: &Handle) -> Option<&Arc<T>> {
        self.all.get(handle)
    }

    /// Whether there is one with this handle.
    #[must_use]
    pub fn contains(&self, handle: &Handle) -> bool {
        self.all.contains_key(handle)
    }

    /// Takes it out.
    pub fn remove(&mut self, handle: &Handle) -> Option<Arc<T>> {
        let it = self.all.remove(handle)?;
        disown(&mut self.of, &*it);
        Some(it)
    }

    /// Takes out all but these.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Arc<T>) -> bool) {
        let Self { all, of } = self;
        all.retain(|_, it| {
            let kept = is_kept(it);
            if !kept {
                disown(of, &**it);
            }
            kept
        });
    }

    /// How many one agent has.
    #[must_use]
    pub fn count_of(&self, agent: &AgentId) -> usize {
        self.of.get(agent).map_or(0, HashSet::len)
    }

    /// Those that one agent has.
    pub fn of<'t>(&'t self, agent: &AgentId) -> impl Iterator<Item = &'t Arc<T>> + use<'t, T> {
        self.of.get(agent).into_iter().flatten().filter_map(|handle| self.all.get(handle))
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.all.values()
    }

    /// Takes out all of them.
    pub fn take(&mut self) -> Vec<Arc<T>> {
        self.of.clear();
        self.all.drain().map(|(_, it)| it).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// An agent that has nothing left is not remembered.
fn disown<T: Owned>(of: &mut HashMap<AgentId, HashSet<Handle>>, it: &T) {
    if let Some(handles) = of.get_mut(it.owner()) {
        handles.remove(&it.handle());
        if handles.is_empty() {
            of.remove(it.owner());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ByAgent, Owned};
    use crate::model::{AgentId, Handle};
    use proptest::prelude::*;
    use std::{collections::HashMap, sync::Arc};

    struct Thing(Handle, AgentId);

    impl Owned for Thing {
        fn handle(&self) -> Handle {
            self.0
        }

        fn owner(&self) -> &AgentId {
            &self.1
        }
    }

    fn thing(number: u8) -> Arc<Thing> {
        let agent = AgentId::parse(&format!("agent-{}", number % 5)).unwrap();
        Arc::new(Thing(Handle::new([number; 16]), agent))
    }

    proptest! {
        /// Whatever comes and goes: each agent's are those of all that are its, and nobody is kept for nothing.
        #[test]
        fn each_agents_are_its_share_of_all(steps in prop::collection::vec((any::<u8>(), 0u8..8), 0..200)) {
            let mut table = ByAgent::default();
            for (number, step) in steps {
                match step {
                    0..5 => table.insert(thing(number)),
                    5 => drop(table.remove(&Handle::new([number; 16]))),
                    6 => table.retain(|it| it.0.bits()[0] % 3 != number % 3),
                    _ if number < 20 => drop(table.take()),
                    _ => {}
                }
                let mut counted: HashMap<&AgentId, usize> = HashMap::new();
                table.values().for_each(|it| *counted.entry(it.owner()).or_default() += 1);
                prop_assert_eq!(table.of.len(), counted.len());
                for (agent, count) in counted {
                    prop_assert_eq!(table.count_of(agent), count);
                    prop_assert_eq!(table.of(agent).filter(|it| it.owner() == agent).count(), count);
                }
            }
        }
    }
}
