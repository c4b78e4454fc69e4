//! Authorization details (RFC 9396): what is asked for, element by element, where scopes say too little; and whether what
//! was granted is no wider.

use super::ApiAlias;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// How a field of what was granted is held against the same field of what was asked (RFC 9396 §6.1: only its type says
/// what is more and what is less).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// An array of texts: every one granted was asked for.
    Set,
    /// Any value: granted as it was asked for.
    Equal,
    /// An amount: no more is granted than was asked for.
    AtMost,
    /// Added by the server to what it granted, such as an id: it may not be asked for.
    Ignore,
}

impl Comparator {
    /// Reads the word of the catalogue.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "set" => Some(Self::Set),
            "equal" => Some(Self::Equal),
            "at_most" => Some(Self::AtMost),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// A declared `type` of authorization details (RFC 9396 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailsType {
    /// `type`: the entity in policy.
    pub name: String,
    /// The API that understands it.
    pub api: ApiAlias,
    /// Its fields and how each is compared. A field of a nested object is named by its path, with dots.
    pub fields: BTreeMap<String, Comparator>,
}

/// An amount of at most 14 digits before and 4 after the point, as policies can compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    const DIGITS_MAX: usize = 14;
    const DECIMALS_MAX: usize = 4;

    /// Reads a plain decimal number: no sign, no exponent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |digits: &str, most| {
            (1..=most).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !plain(whole, Self::DIGITS_MAX) || !plain(rest, Self::DECIMALS_MAX) {
            return None;
        }
        u64::from_str(&format!("{whole}{rest:0<4}")).ok().map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

/// A field's value, as its comparator takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetailValue {
    /// Of [`Comparator::Set`]; never empty, which could mean none or all.
    Set(BTreeSet<String>),
    /// Of [`Comparator::Equal`]: a text.
    Text(String),
    /// Of [`Comparator::Equal`]: anything else, as JSON with its members in order.
    Json(String),
    /// Of [`Comparator::AtMost`].
    AtMost(Amount),
}

/// One element.
#[derive(Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its type.
    pub declared: Arc<DetailsType>,
    /// Its fields by path, but for `type` and what the server added.
    pub values: BTreeMap<String, DetailValue>,
    /// The whole element as JSON.
    pub json: String,
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detail({})", self.declared.name)
    }
}

impl Detail {
    /// Whether this, granted, is no wider than what was asked: field by field, and a field on one side alone is wider,
    /// for what an API makes of a missing limit is anyone's guess.
    fn is_within(&self, asked: &Self) -> bool {
        self.declared == asked.declared
            && self.values.len() == asked.values.len()
            && self.values.iter().all(|(path, granted)| match (granted, asked.values.get(path)) {
                (DetailValue::Set(granted), Some(DetailValue::Set(asked))) => granted.is_subset(asked),
                (DetailValue::AtMost(granted), Some(DetailValue::AtMost(asked))) => granted <= asked,
                (granted, Some(asked)) => granted == asked,
                (_, None) => false,
            })
    }
}

/// The elements of `authorization_details`; none where none are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationDetails(Arc<[Detail]>);

impl Default for AuthorizationDetails {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl AuthorizationDetails {
    /// Elements.
    pub const ELEMENTS_MAX: usize = 16;
    /// Bytes of the whole, as JSON.
    pub const BYTES_MAX: usize = 16 * 1024;
    /// How deep it is nested, the array and its elements included.
    pub const DEPTH_MAX: usize = 8;

    /// These elements, if there are no more than there may be.
    #[must_use]
    pub fn new(elements: Vec<Detail>) -> Option<Self> {
        (elements.len() <= Self::ELEMENTS_MAX).then(|| Self(elements.into()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = &Detail> {
        self.0.iter()
    }

    /// The array as JSON; empty where there are no elements.
    #[must_use]
    pub fn to_json(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let elements: Vec<&str> = self.iter().map(|element| element.json.as_str()).collect();
        format!("[{}]", elements.join(","))
    }

    /// Whether these, granted, are no wider than what was asked: each is within an element of its own, since two of one
    /// would be twice as much.
    #[must_use]
    pub fn are_within(&self, asked: &Self) -> bool {
        // Which granted element each asked one stands for; an earlier choice gives way where it has another.
        let mut taken: Vec<Option<usize>> = vec![None; asked.0.len()];
        (0..self.0.len()).all(|granted| self.place(granted, asked, &mut taken, &mut BTreeSet::new()))
    }

    fn place(&self, granted: usize, asked: &Self, taken: &mut Vec<Option<usize>>, tried: &mut BTreeSet<usize>) -> bool {
        for (at, candidate) in asked.0.iter().enumerate() {
            let fits = self.0.get(granted).is_some_and(|element| element.is_within(candidate));
            if !fits || !tried.insert(at) {
                continue;
            }
            let earlier = taken.get(at).copied().flatten();
            if earlier.is_none_or(|earlier| self.place(earlier, asked, taken, tried)) {
                if let Some(place) = taken.get_mut(at) {
                    *place = Some(granted);
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(actions: &[&str], amount: &str) -> Detail {
        let declared = Arc::new(DetailsType {
            name: "t".to_owned(),
            api: ApiAlias::parse("crm").unwrap(),
            fields: BTreeMap::new(),
        });
        let set = DetailValue::Set(actions.iter().map(ToString::to_string).collect());
        let amount = DetailValue::AtMost(Amount::parse(amount).unwrap());
        let values = BTreeMap::from([("actions".to_owned(), set), ("amount".to_owned(), amount)]);
        Detail { declared, values, json: String::new() }
    }

    fn all(elements: &[Detail]) -> AuthorizationDetails {
        AuthorizationDetails::new(elements.to_vec()).unwrap()
    }

    // rows: RES-06
    #[test]
    fn each_granted_element_has_an_asked_one_of_its_own() {
        let (small, large) = (element(&["read"], "50"), element(&["read", "write"], "100.5"));
        let asked = all(&[large.clone(), small.clone()]);
        assert!(asked.are_within(&asked));
        // The small one fits into both, and has to leave the large one its place.
        assert!(all(&[small.clone(), large.clone()]).are_within(&asked));
        assert!(all(&[small.clone(), small.clone()]).are_within(&asked));
        assert!(all(std::slice::from_ref(&small)).are_within(&asked));
        for wider in [
            vec![large.clone(), large.clone()],
            vec![small.clone(); 3],
            vec![element(&["read"], "100.5001")],
            vec![element(&["delete"], "1")],
            vec![Detail { values: BTreeMap::new(), ..small.clone() }],
        ] {
            assert!(!all(&wider).are_within(&asked), "{wider:?}");
        }
        assert!(AuthorizationDetails::new(vec![small; 17]).is_none());
    }

    #[test]
    fn amounts_are_plain_decimals() {
        for (text, shown) in [("0", "0.0000"), ("123.5", "123.5000"), ("99999999999999.9999", "99999999999999.9999")] {
            assert_eq!(Amount::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "-1", "+1", "1e3", "1.", ".5", "1.00000", "100000000000000", "1,5", " 1", "NaN", "1.2.3"] {
            assert_eq!(Amount::parse(bad), None, "{bad:?}");
        }
        assert!(Amount::parse("0.1") > Amount::parse("0.0999"));
    }
}
