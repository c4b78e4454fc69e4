//! The names that a file gives. What refers to one that is wrong elsewhere is no mistake of its own: one mistake is told
//! once.

use std::collections::BTreeSet;

/// The names given, those of mistaken tables included.
#[derive(Debug)]
pub(super) struct Named<Name> {
    names: BTreeSet<Name>,
    /// Some table has no name that can be read: it may be any.
    one_unread: bool,
}

impl<Name> Default for Named<Name> {
    fn default() -> Self {
        Self { names: BTreeSet::new(), one_unread: false }
    }
}

impl<Name: Ord> Named<Name> {
    /// Adds the name of a table; `None` if it has none that can be read.
    pub(super) fn add(&mut self, name: Option<Name>) {
        match name {
            Some(name) => drop(self.names.insert(name)),
            None => self.one_unread = true,
        }
    }

    /// Whether this name was given, or may have been.
    pub(super) fn may_be(&self, name: &Name) -> bool {
        self.one_unread || self.names.contains(name)
    }
}
