//! `[[approver]]` of the agents file: whose word counts as a person's approval, and the key that proves it.

use super::{reader::Table, registry::team};
use crate::{
    model::{ApproverId, TeamId},
    platform::digest::sha256,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Somebody who may approve what agents ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// Its id, and its name in policy: `Narrowgate::User`.
    pub id: ApproverId,
    /// The teams that it approves for.
    pub teams: Vec<TeamId>,
    /// The public key as a JWK (RFC 7517 §4), with the members that RFC 7638 digests and no other.
    pub jwk: String,
    /// The key's SHA-256 thumbprint (RFC 7638), in base64url.
    pub thumbprint: String,
}

/// The approvers, by id.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Approvers(BTreeMap<ApproverId, Arc<Approver>>);

impl Approvers {
    /// Every approver.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Approver>> {
        self.0.values()
    }

    /// The approver with this id.
    #[must_use]
    pub fn get(&self, id: &ApproverId) -> Option<&Arc<Approver>> {
        self.0.get(id)
    }

    /// Reads the tables of the file.
    pub(super) fn read(root: &Table<'_>) -> Self {
        let mut approvers = Self::default();
        root.tables("approver", |table| {
            let approver = approver(table)?;
            if let Some(other) = approvers.iter().find(|other| other.thumbprint == approver.thumbprint) {
                table.wrong_at("jwk", format!("is the key of approver `{}` too, so they would be one", other.id), None);
            }
            if let Some(other) = approvers.0.insert(approver.id.clone(), Arc::new(approver)) {
                table.wrong(format!("approver `{}` is registered twice", other.id), None);
            }
            Some(())
        });
        approvers
    }
}

fn approver(table: &Table<'_>) -> Option<Approver> {
    let id = table.required("id", |text| {
        ApproverId::parse(text).ok_or_else(|| "is not 1 to 128 letters, digits and . _ : / @ -".to_owned())
    });
    let teams = table.list("teams", team);
    let jwk = table.required("jwk", public_key);
    let (id, jwk) = (id?, jwk?);
    let thumbprint = URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()));
    Some(Approver { id, teams, jwk, thumbprint })
}

/// The members of a public key that RFC 7638 §3.2 digests, in its order.
fn public_key(text: &str) -> Result<String, String> {
    let wrong = "must be a public key as a JWK: kty OKP with crv Ed25519, or kty EC with crv P-256, as `narrowgate \
                 approve key` prints it";
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) else { return Err(wrong.to_owned()) };
    if members.contains_key("d") {
        return Err(
            "holds the private key, which the approver alone may have: leave \"d\" out, and make a new key".to_owned()
        );
    }
    let member = |name: &str| members.get(name).and_then(Value::as_str);
    let coordinate = |name: &str| {
        let text = member(name)?;
        URL_SAFE_NO_PAD.decode(text).is_ok_and(|octets| octets.len() == 32).then_some(text)
    };
    match (member("kty"), member("crv"), coordinate("x"), coordinate("y")) {
        (Some("OKP"), Some("Ed25519"), Some(x), None) => Ok(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)),
        (Some("EC"), Some("P-256"), Some(x), Some(y)) => {
            Ok(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
        }
        _ => Err(wrong.to_owned()),
    }
}
