//! `[issuer.accept]`: where an authorization server may stray from the RFCs. Everything is strict unless it is named
//! here, for this issuer alone; each refusal that a switch would cure names the switch. `deploy/issuers.md` says who
//! needs which.

use super::{Catalog, Finding, ScopeHome, about, reader::Table};
use crate::model::{IssuerAlias, Scope};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The `typ` of a JWT access token (RFC 9068 §2.1).
const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// The rules an issuer is held to as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// RFC 6749 with RFC 9700.
    #[default]
    OAuth,
    /// Model Context Protocol, Authorization: PKCE must be advertised, and no switch changes that.
    Mcp,
}

/// What is accepted of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// `expires_in` as a string of digits, where RFC 6749 §5.1 has a number.
    pub expires_in_string: bool,
    /// Metadata without `code_challenge_methods_supported` (RFC 8414 §2). The challenge is sent all the same.
    pub pkce_unadvertised: bool,
    /// The token request goes without `redirect_uri`: OAuth 2.1 has taken it out, and a server may refuse it.
    pub redirect_uri_omitted: bool,
    /// The `typ` of the JWT access tokens of bound clients.
    pub access_token_typ: String,
    /// Scopes the server adds unasked. A token may carry them; they are not granted, not handed out as granted, and
    /// policy sees them as `context.token.toleratedScopes`.
    pub tolerated_extra_scopes: BTreeSet<Scope>,
    /// What the server calls a scope of the catalogue: its name to ours. No hierarchy is assumed beyond it.
    pub scope_aliases: BTreeMap<Scope, Scope>,
}

impl Default for Accept {
    fn default() -> Self {
        Self {
            expires_in_string: false,
            pkce_unadvertised: false,
            redirect_uri_omitted: false,
            access_token_typ: ACCESS_TOKEN_TYP.to_owned(),
            tolerated_extra_scopes: BTreeSet::new(),
            scope_aliases: BTreeMap::new(),
        }
    }
}

pub(super) fn accept(table: &Table<'_>) -> Accept {
    let scope = |text: &str| Scope::parse(text).ok_or_else(|| "must hold scope-tokens (RFC 6749 §3.3)".to_owned());
    let typ = table.optional("access_token_typ", |t| {
        let token =
            !t.is_empty() && t.len() <= 64 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-./_".contains(&b));
        if token { Ok(t.to_owned()) } else { Err("must be a media type such as \"at+jwt\" or \"JWT\"".to_owned()) }
    });
    Accept {
        expires_in_string: table.boolean("expires_in_string", false),
        pkce_unadvertised: table.boolean("pkce_unadvertised", false),
        redirect_uri_omitted: table.boolean("redirect_uri_omitted", false),
        access_token_typ: typ.unwrap_or_else(|| ACCESS_TOKEN_TYP.to_owned()),
        tolerated_extra_scopes: table.list("tolerated_extra_scopes", scope).into_iter().collect(),
        scope_aliases: table
            .pairs("scope_aliases", |theirs, ours| Ok((scope(theirs)?, scope(ours)?)))
            .into_iter()
            .collect(),
    }
}

pub(super) fn profile(table: &Table<'_>) -> Profile {
    let read = table.optional("profile", |t| match t {
        "oauth" => Ok(Profile::OAuth),
        "mcp" => Ok(Profile::Mcp),
        _ => Err("must be \"oauth\" or \"mcp\"".to_owned()),
    });
    read.unwrap_or_default()
}

/// Switches that would let a scope past policy: what the catalogue declares is decided by its own name.
pub(super) fn past_policy(file: &Path, alias: &IssuerAlias, accept: &Accept, catalog: &Catalog) -> Vec<Finding> {
    let wrong = |message: String, hint: &str| Finding {
        hint: Some(hint.to_owned()),
        ..about(file, format!("issuer `{alias}`: {message}"))
    };
    let declared = |scope: &Scope| catalog.scopes.contains_key(scope);
    let of_others = |scope: &Scope| match catalog.scopes.get(scope).map(|declared| &declared.home) {
        Some(ScopeHome::Issuers(issuers)) => !issuers.contains(alias),
        _ => false,
    };
    let tolerated = accept.tolerated_extra_scopes.iter().filter(|scope| declared(scope) && !of_others(scope));
    let tolerated = tolerated.map(|scope| {
        let message = format!("`accept.tolerated_extra_scopes` holds `{scope}`, which the catalogue declares");
        wrong(message, "a declared scope is for policy to decide: take it out of the list, and have agents ask for it")
    });
    let aliases = accept.scope_aliases.iter().filter(|(theirs, ours)| declared(theirs) || !declared(ours));
    let aliases = aliases.map(|(theirs, ours)| {
        let message = format!("`accept.scope_aliases` maps `{theirs}` to `{ours}`");
        wrong(message, "the name on the left must be the server's alone, the one on the right a scope of the catalogue")
    });
    tolerated.chain(aliases).collect()
}
