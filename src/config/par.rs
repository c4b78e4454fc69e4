//! `par` of an `[[issuer]]`: whether authorization requests are pushed to it (RFC 9126).

use super::reader::Table;

/// Whether authorization requests are pushed to an issuer before the person is sent there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParUse {
    /// They are, or nothing is begun.
    Required,
    /// They are where the issuer has an endpoint for them.
    #[default]
    WhenOffered,
    /// They are not. Where the issuer insists on it, nothing is begun.
    Off,
}

pub(super) fn par_use(table: &Table<'_>) -> ParUse {
    let read = table.optional("par", |text| match text {
        "required" => Ok(ParUse::Required),
        "when_offered" => Ok(ParUse::WhenOffered),
        "off" => Ok(ParUse::Off),
        _ => Err("must be \"required\", \"when_offered\" or \"off\"".to_owned()),
    });
    read.unwrap_or_default()
}
