//! What makes two requests ask for the same token: everything that decided about it, in one digest.

use crate::{model::ScopeSet, platform::KeyedHash};

/// A keyed digest of an [`Asked`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct TokenKey([u8; 32]);

/// Everything a token depends on. What only decides whether it may be handed out (policy, attestation, the caller's own
/// words) is asked anew at each hand-out and is no part of it.
pub(super) struct Asked<'a> {
    /// The agent it is for.
    pub(super) agent: &'a str,
    /// The grant it comes from.
    pub(super) grant: &'a [u8],
    /// The issuer's identifier.
    pub(super) issuer: &'a str,
    /// The client registration's alias, and its `client_id` there.
    pub(super) client: (&'a str, &'a str),
    /// The scopes asked for: a set, so their order is nothing.
    pub(super) scopes: &'a ScopeSet,
    /// The resource indicator (RFC 8707).
    pub(super) resource: Option<&'a str>,
    /// How it is bound, and the thumbprint of the certificate (RFC 8705 §3) or key (RFC 9449) that it is bound to; a
    /// bearer token has none.
    pub(super) binding: Option<(&'a str, &'a str)>,
}

impl TokenKey {
    /// Digests every field with its length before it, so that no two can run into each other.
    pub(super) fn of(asked: &Asked<'_>, keyed: &KeyedHash) -> Self {
        let mut bytes = Vec::with_capacity(512);
        for field in [asked.agent.as_bytes(), asked.grant, asked.issuer.as_bytes()] {
            put(&mut bytes, field);
        }
        put(&mut bytes, asked.client.0.as_bytes());
        put(&mut bytes, asked.client.1.as_bytes());
        put_optional(&mut bytes, asked.resource);
        put_optional(&mut bytes, asked.binding.map(|binding| binding.0));
        put_optional(&mut bytes, asked.binding.map(|binding| binding.1));
        // Last, and each with its length: their number needs no field of its own.
        for scope in asked.scopes.iter() {
            put(&mut bytes, scope.as_str().as_bytes());
        }
        Self(keyed.of("held_token", &bytes))
    }
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

fn put_optional(bytes: &mut Vec<u8>, field: Option<&str>) {
    bytes.push(u8::from(field.is_some()));
    put(bytes, field.unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An [`Asked`] that owns its fields. Few short words, so that fields that run into each other would be found.
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Owned {
        words: [String; 4],
        grant: Vec<u8>,
        scopes: std::collections::BTreeSet<String>,
        resource: Option<String>,
        binding: Option<(String, String)>,
    }

    fn key(owned: &Owned, keyed: &KeyedHash) -> TokenKey {
        let [agent, issuer, alias, client_id] = &owned.words;
        let scopes: Vec<&str> = owned.scopes.iter().map(String::as_str).collect();
        let asked = Asked {
            agent,
            grant: &owned.grant,
            issuer,
            client: (alias, client_id),
            scopes: &ScopeSet::parse(&scopes.join(" ")).unwrap(),
            resource: owned.resource.as_deref(),
            binding: owned.binding.as_ref().map(|(how, what)| (how.as_str(), what.as_str())),
        };
        TokenKey::of(&asked, keyed)
    }

    fn owned() -> impl Strategy<Value = Owned> {
        let word = || "[ab]{0,3}";
        let optional = || proptest::option::of(word());
        let scopes = proptest::collection::btree_set("[ab]{1,3}", 1..4);
        let words = [word(), word(), word(), word()];
        (words, proptest::collection::vec(97u8..99, 0..3), scopes, optional(), proptest::option::of((word(), word())))
            .prop_map(|(words, grant, scopes, resource, binding)| Owned { words, grant, scopes, resource, binding })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        // rows: CACH-02
        #[test]
        fn requests_that_differ_in_anything_never_share_a_token(a in owned(), b in owned()) {
            let keyed = KeyedHash::new(&[7; 32]);
            prop_assert_eq!(key(&a, &keyed) == key(&b, &keyed), a == b);
            prop_assert_ne!(key(&a, &keyed), key(&a, &KeyedHash::new(&[8; 32])));
        }

        // rows: CACH-02
        #[test]
        fn one_changed_field_is_another_token(a in owned(), which in 0..9usize) {
            let keyed = KeyedHash::new(&[7; 32]);
            let mut b = a.clone();
            match which {
                0..=3 => b.words[which].push('c'),
                4 => b.grant.push(0),
                5 => drop(b.scopes.insert("c".to_owned())),
                6 => b.resource = b.resource.map_or(Some(String::new()), |_| None),
                7 => b.binding = b.binding.map_or(Some((String::new(), String::new())), |_| None),
                _ => b.binding = b.binding.map_or(Some(Default::default()), |(how, what)| Some((what + "c", how))),
            }
            prop_assert_ne!(key(&a, &keyed), key(&b, &keyed));
        }
    }

    // rows: CACH-02
    #[test]
    fn scopes_do_not_run_into_each_other() {
        let keyed = KeyedHash::new(&[7; 32]);
        let of = |scopes: &[&str], resource: Option<&str>| {
            let owned = Owned {
                words: ["", "", "", ""].map(str::to_owned),
                grant: Vec::new(),
                scopes: scopes.iter().map(ToString::to_string).collect(),
                resource: resource.map(str::to_owned),
                binding: None,
            };
            key(&owned, &keyed)
        };
        assert_eq!(of(&["a", "b"], None), of(&["b", "a", "b"], None));
        assert_ne!(of(&["ab", "c"], None), of(&["a", "bc"], None));
        assert_ne!(of(&["a"], Some("")), of(&["a"], None));
    }
}
