//! Distinguished names: the string form (RFC 4514) of the configuration against the subject of a certificate, by
//! distinguishedNameMatch (RFC 4517 §4.2.15), as RFC 8705 §2.1 asks.
//!
//! The RDNs compare in order, the values inside one RDN in any order. Values of the string types compare without
//! regard to case, to which string type it is, and to how many spaces stand between words (RFC 4518); all other values
//! compare as their DER. Unicode normalisation (RFC 4518 §2.3) is not done: a name that a CA wrote with combining
//! characters must be written the same way in the configuration.

use std::fmt;
use x509_parser::{
    asn1_rs::{Any, FromDer, Tag, ToDer},
    x509::{RelativeDistinguishedName, X509Name},
};

/// The short names that a string may use (RFC 4514 §3, and those that CAs print), with their object identifiers.
const SHORT_NAMES: [(&str, &str); 17] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SN", "2.5.4.4"),
    ("GN", "2.5.4.42"),
    ("serialNumber", "2.5.4.5"),
    ("title", "2.5.4.12"),
    ("postalCode", "2.5.4.17"),
    ("organizationIdentifier", "2.5.4.97"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

/// A distinguished name, ready to be compared: from the most particular RDN to the least, as the string form has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DistinguishedName(Vec<Vec<Attribute>>);

/// One type and value. Sorted, those of one RDN compare as a set.
#[derive(Clone, Debug)]
struct Attribute {
    /// The object identifier of the type, dotted.
    kind: String,
    value: Value,
    /// The value as it was, to be shown.
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// Of a string type, prepared for comparison.
    Text(String),
    /// Of any other type: its DER.
    Der(Vec<u8>),
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        (&self.kind, &self.value) == (&other.kind, &other.value)
    }
}

impl Eq for Attribute {}

impl DistinguishedName {
    /// Reads the string form.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("is not a distinguished name (RFC 4514): {why}");
        let mut names: Vec<Vec<Attribute>> = Vec::new();
        let mut rdn = Vec::new();
        let mut rest = text;
        loop {
            let (attribute, after) = attribute(rest).map_err(|why| wrong(&why))?;
            rdn.push(attribute);
            let mut after = after.chars();
            let separator = after.next();
            if separator != Some('+') {
                names.push(sorted(std::mem::take(&mut rdn)));
            }
            rest = match separator {
                None => return Ok(Self(names)),
                Some(',' | '+') => after.as_str(),
                Some(_) => return Err(wrong("a comma or a plus is missing; commas inside a value are written \\,")),
            };
        }
    }

    /// Reads a certificate's name, in which the most particular RDN comes last.
    pub(super) fn of(name: &X509Name<'_>) -> Self {
        let rdn = |rdn: &RelativeDistinguishedName<'_>| {
            sorted(
                rdn.iter()
                    .map(|one| Attribute::new(one.attr_type().to_id_string(), decoded(one.attr_value())))
                    .collect(),
            )
        };
        let mut names: Vec<_> = name.iter_rdn().map(rdn).collect();
        names.reverse();
        Self(names)
    }
}

fn sorted(mut rdn: Vec<Attribute>) -> Vec<Attribute> {
    rdn.sort_by(|a, b| (&a.kind, &a.value).cmp(&(&b.kind, &b.value)));
    rdn
}

impl Attribute {
    fn new(kind: String, value: Result<String, Vec<u8>>) -> Self {
        match value {
            Ok(text) => Self { kind, value: Value::Text(prepared(&text)), shown: escaped(&text) },
            Err(der) => {
                let shown = format!("#{}", crate::platform::digest::hex(&der));
                Self { kind, value: Value::Der(der), shown }
            }
        }
    }
}

/// A value of a certificate: the text of a string type, or the DER of any other.
fn decoded(value: &Any<'_>) -> Result<String, Vec<u8>> {
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(value.data.to_vec()).ok()
        }
        // ISO 8859-1 is how CAs fill it.
        Tag::TeletexString => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units: Vec<u16> = value
                .data
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |unit, byte| (unit << 8) | u16::from(*byte)))
                .collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    };
    text.ok_or_else(|| value.to_der_vec().unwrap_or_default())
}

/// String preparation (RFC 4518) for caseIgnoreMatch, without normalisation.
fn prepared(text: &str) -> String {
    let mapped = text.chars().filter(|c| !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}'));
    let folded: String = mapped.map(|c| if c.is_control() { ' ' } else { c }).flat_map(char::to_lowercase).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One type and value at the beginning of a text, and what comes after it.
fn attribute(text: &str) -> Result<(Attribute, &str), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no equals sign"))?;
    let kind = kind(name.trim())?;
    let value = value.trim_start_matches(' ');
    if let Some(hex) = value.strip_prefix('#') {
        let end = hex.find([',', '+']).unwrap_or(hex.len());
        let (digits, after) = hex.split_at(end);
        let der = bytes(digits.trim()).ok_or("after # there must be pairs of hex digits")?;
        let value = match Any::from_der(&der) {
            Ok((_, any)) => decoded(&any),
            Err(_) => return Err("after # there must be a value in DER".to_owned()),
        };
        return Ok((Attribute::new(kind, value), after));
    }
    let (value, after) = unescaped(value)?;
    if value.is_empty() {
        return Err(format!("`{name}` has no value"));
    }
    Ok((Attribute::new(kind, Ok(value)), after))
}

fn kind(name: &str) -> Result<String, String> {
    let dotted =
        name.len() > 2 && name.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()));
    if dotted {
        return Ok(name.to_owned());
    }
    let known = SHORT_NAMES.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
    known
        .map(|(_, id)| (*id).to_owned())
        .ok_or_else(|| format!("the type {name:?} is not known here; write its dotted object identifier"))
}

/// A value up to the next separator, its escapes undone and the spaces that were not escaped taken off its ends.
fn unescaped(text: &str) -> Result<(String, &str), String> {
    let mut value: Vec<u8> = Vec::new();
    // The spaces at the end count from here on only if something follows.
    let mut kept = 0;
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | '+' | ';' => {
                end = at;
                break;
            }
            '\\' => {
                let Some((at, next)) = chars.next() else { return Err("a backslash ends it".to_owned()) };
                if next.is_ascii_hexdigit() {
                    let pair = text.get(at..at + 2).and_then(bytes).ok_or("a backslash needs two hex digits")?;
                    value.extend(pair);
                    chars.next();
                } else if r#""+,;<> #=\"#.contains(next) {
                    value.push(u8::try_from(next).unwrap_or(b' '));
                } else {
                    return Err(format!("a backslash before {next:?} means nothing"));
                }
                kept = value.len();
            }
            '"' | '<' | '>' | '\0' => return Err(format!("{c:?} must be written \\{c}")),
            _ => {
                value.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).map_err(|_| "its escaped bytes are not UTF-8".to_owned())?;
    Ok((value, text.get(end..).unwrap_or_default()))
}

/// Bytes of pairs of hex digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

/// A value as RFC 4514 §2.4 writes it.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => shown.extend(['\\', c]),
            ' ' if at == 0 || at == last => shown.push_str("\\ "),
            '#' if at == 0 => shown.push_str("\\#"),
            c if c.is_control() => shown.push_str(&format!("\\{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |one: &Attribute| {
            let short =
                SHORT_NAMES.iter().find(|(_, id)| *id == one.kind).map_or(one.kind.as_str(), |(short, _)| short);
            format!("{short}={}", one.shown)
        };
        let rdn = |rdn: &Vec<Attribute>| rdn.iter().map(one).collect::<Vec<_>>().join("+");
        f.write_str(&self.0.iter().map(rdn).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    const OU: &[u8] = &[0x55, 4, 11];
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const BMP: u8 = 0x1e;

    /// Type, string type and value.
    type Pair<'a> = (&'a [u8], u8, &'a [u8]);

    /// A certificate's name of these RDNs, from the least particular to the most.
    fn name(rdns: &[&[Pair<'_>]]) -> DistinguishedName {
        let rdn = |rdn: &&[Pair<'_>]| {
            let pair = |(kind, tag, value): &Pair<'_>| tlv(0x30, &[tlv(6, kind), tlv(*tag, value)].concat());
            tlv(0x31, &rdn.iter().map(pair).collect::<Vec<_>>().concat())
        };
        let der = tlv(0x30, &rdns.iter().map(rdn).collect::<Vec<_>>().concat());
        let (_, name) = X509Name::from_der(&der).unwrap();
        DistinguishedName::of(&name)
    }

    fn assert_fits(certificate: &DistinguishedName, text: &str, fits: bool) {
        assert_eq!(DistinguishedName::parse(text).unwrap() == *certificate, fits, "{text} against {certificate}");
    }

    // rows: MTLS-03
    #[test]
    fn case_spaces_escapes_and_string_types_do_not_matter() {
        let acme = name(&[&[(O, UTF8, b"Acme, Inc.")], &[(CN, PRINTABLE, b"Narrow  Gate")]]);
        for same in [
            "CN=Narrow  Gate,O=Acme\\, Inc.",
            "cn=narrow gate,o=ACME\\, INC.",
            "CN=Narrow Gate, O=Acme\\2c Inc.",
            " CN = Narrow Gate , O = Acme\\,   Inc. ",
            "2.5.4.3=narrow\\20gate,2.5.4.10=acme\\, inc.",
            "CN=#0c0b4e6172726f772047617465,O=Acme\\, Inc.",
            "CN=\\ Narrow Gate\\ ,O=Acme\\, Inc.",
        ] {
            assert_fits(&acme, same, true);
        }
        assert_eq!(acme.to_string(), "CN=Narrow  Gate,O=Acme\\, Inc.");
        let bmp = name(&[&[(CN, BMP, &[0, b'N', 0x20, 0xac])]]);
        assert_fits(&bmp, "CN=n\u{20ac}", true);
        assert_fits(&bmp, "CN=n\\e2\\82\\ac", true);
    }

    // rows: MTLS-03
    #[test]
    fn another_name_is_another_name() {
        let acme = name(&[&[(O, UTF8, b"Acme, Inc.")], &[(CN, PRINTABLE, b"Narrow Gate")]]);
        for other in [
            "O=Acme\\, Inc.,CN=Narrow Gate",
            "CN=Narrow Gate",
            "CN=Narrow Gate,O=Acme\\, Inc.,C=FR",
            "CN=Narrow Gate+O=Acme\\, Inc.",
            "CN=NarrowGate,O=Acme\\, Inc.",
            "CN=Narrow Gate,OU=Acme\\, Inc.",
            "CN=Narrow Gate,O=Acme Inc.",
        ] {
            assert_fits(&acme, other, false);
        }
    }

    // rows: MTLS-03
    #[test]
    fn the_values_inside_one_rdn_have_no_order_and_the_rdns_have() {
        let certificate = name(&[&[(O, UTF8, b"Acme")], &[(CN, UTF8, b"ng"), (OU, UTF8, b"sales")]]);
        assert_fits(&certificate, "CN=ng+OU=sales,O=Acme", true);
        assert_fits(&certificate, "OU=Sales + CN=NG,O=Acme", true);
        assert_fits(&certificate, "O=Acme,OU=sales+CN=ng", false);
        assert_fits(&certificate, "OU=sales,CN=ng,O=Acme", false);
        let twice = name(&[&[(OU, UTF8, b"a"), (OU, UTF8, b"b")]]);
        assert_fits(&twice, "OU=b+OU=a", true);
        assert_fits(&twice, "OU=a+OU=a", false);
        assert_fits(&twice, "OU=a", false);
    }

    // rows: MTLS-03
    #[test]
    fn what_is_no_distinguished_name_is_said_to_be_none() {
        let names = [
            "",
            "ng",
            "CN",
            "CN=",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a+",
            "XX=a",
            "CN=a\\",
            "CN=a\\zz",
            "CN=\\ff",
            "CN=\"a\"",
            "CN=#zz",
            "CN=a;O=b",
            "1.=a",
        ];
        for text in names {
            assert!(DistinguishedName::parse(text).is_err(), "{text:?}");
        }
    }
}
