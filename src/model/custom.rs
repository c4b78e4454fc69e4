//! What a platform team says of its agents, APIs and scopes in words of its own. Policies read it; narrowgate does not.

use std::collections::BTreeMap;

/// Attributes by name: in the data files and in policy `custom`.
pub type Custom = BTreeMap<String, CustomValue>;

/// A value of one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CustomValue {
    /// A text; a time, an address and a decimal are texts too until the schema says which.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Flag(bool),
    /// A set.
    List(Vec<CustomValue>),
    /// A record, or the type and id of an entity.
    Table(Custom),
}
