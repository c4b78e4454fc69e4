//! `apis.toml`: the protected resources and the scopes they understand.

use super::{
    authorization_details::details_type,
    binding,
    custom::custom,
    findings::Finding,
    named::Named,
    reader::{Document, Table},
    registry::team,
    resource,
};
use crate::model::{
    ApiAlias, Custom, DetailsType, IssuerAlias, Scope, TeamId,
    scope::{OFFLINE_ACCESS, OPENID},
};
use rustls::pki_types::CertificateDer;
use std::{collections::BTreeMap, sync::Arc};

/// A protected resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Its alias: the entity in policy.
    pub alias: ApiAlias,
    /// Its resource indicator (RFC 8707 §2).
    pub identifier: String,
    /// The issuer whose tokens it takes.
    pub issuer: IssuerAlias,
    /// The team that answers for it.
    pub owner: TeamId,
    /// `public`, `internal`, `confidential` or `restricted`.
    pub data_class: String,
    /// What the platform team says of it besides.
    pub custom: Custom,
    /// Where it is (RFC 6454): proofs for its tokens are signed for these alone.
    pub origins: Vec<String>,
    /// The trust roots of its own server, if its metadata (RFC 9728) is to be read.
    pub metadata_roots: Option<Vec<CertificateDer<'static>>>,
}

impl Api {
    /// Whether what was granted for one is good for the other.
    #[must_use]
    pub fn is_the_same(&self, other: &Self) -> bool {
        self.alias == other.alias && self.identifier == other.identifier && self.issuer == other.issuer
    }
}

/// A scope that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredScope {
    /// Its name at the issuer and in policy.
    pub name: Scope,
    /// What it belongs to.
    pub home: ScopeHome,
    /// 0 read-only public .. 4 irreversible.
    pub risk: u8,
    /// The groups policy may name instead.
    pub groups: Vec<String>,
    /// What the platform team says of it besides.
    pub custom: Custom,
}

/// What a scope belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeHome {
    /// The API that understands it.
    Api(ApiAlias),
    /// The issuers themselves: a capability, such as `openid` or `offline_access`, that goes with the scopes of any one
    /// API of theirs.
    Issuers(Vec<IssuerAlias>),
}

/// What may be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The APIs, by alias.
    pub apis: BTreeMap<ApiAlias, Arc<Api>>,
    /// The scopes, by name.
    pub scopes: BTreeMap<Scope, Arc<DeclaredScope>>,
    /// The types of authorization details (RFC 9396), by name.
    pub details_types: BTreeMap<String, Arc<DetailsType>>,
}

impl Catalog {
    /// Reads the file's text.
    pub(super) fn read(document: Document) -> (Self, Vec<Finding>) {
        let (catalog, findings) = document.read(|root| {
            let mut catalog = Self::default();
            let (mut named, mut written) = (Named::default(), false);
            root.tables("api", |table| {
                named.add(table.optional("alias", |t| Ok(ApiAlias::parse(t))).flatten());
                catalog.add_api(table)
            });
            root.tables("scope", |table| {
                written = true;
                catalog.add_scope(table, &named)
            });
            root.tables("authorization_details_type", |table| {
                let declared = details_type(table, &named)?;
                if let Some(other) = catalog.details_types.insert(declared.name.clone(), Arc::new(declared)) {
                    table.wrong(format!("type `{}` is declared twice", other.name), None);
                }
                Some(())
            });
            if !written {
                root.wrong(
                    "no scope is declared",
                    Some("add [[api]] and [[scope]] tables: only declared scopes can be asked for"),
                );
            }
            Some(catalog)
        });
        (catalog.unwrap_or_default(), findings)
    }

    fn add_api(&mut self, table: &Table<'_>) -> Option<()> {
        let alias = table.required("alias", |t| ApiAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
        let identifier = table.required("identifier", |t| {
            if is_resource(t) {
                Ok(t.to_owned())
            } else {
                Err("must be an absolute URI without fragment (RFC 8707 §2)".to_owned())
            }
        });
        let issuer = table.required("issuer", |t| IssuerAlias::parse(t).ok_or_else(|| "is not an alias".to_owned()));
        let owner = table.required("owner", team);
        let data_class = table.required("data_class", |t| {
            let known = ["public", "internal", "confidential", "restricted"].contains(&t);
            if known {
                Ok(t.to_owned())
            } else {
                Err("must be public, internal, confidential or restricted".to_owned())
            }
        });
        let origins = binding::origins(table, identifier.as_deref());
        let metadata_roots = resource::metadata_roots(table, identifier.as_deref());
        let api = Api {
            alias: alias?,
            identifier: identifier?,
            issuer: issuer?,
            owner: owner?,
            data_class: data_class?,
            custom: custom(table),
            origins,
            metadata_roots,
        };
        if self.apis.values().any(|a| a.identifier == api.identifier && a.issuer == api.issuer) {
            table.wrong_at("identifier", "is declared twice for this issuer", None);
        }
        if let Some(other) = self.apis.insert(api.alias.clone(), Arc::new(api)) {
            table.wrong(format!("api `{}` is declared twice", other.alias), None);
        }
        Some(())
    }

    fn add_scope(&mut self, table: &Table<'_>, named: &Named<ApiAlias>) -> Option<()> {
        let name = table
            .required("name", |t| Scope::parse(t).ok_or_else(|| "is not a scope-token (RFC 6749 §3.3)".to_owned()));
        let home = home(table, named);
        let risk = table.integer("risk", 0..=4);
        if !table.holds("risk") {
            table.absent("risk", "a scope needs `risk`, 0 (read-only public) to 4 (irreversible)");
        }
        let groups = table.list("groups", |t| team(t).map(|t| t.as_str().to_owned()));
        let risk = u8::try_from(risk?).unwrap_or(4);
        let scope = DeclaredScope { name: name?, home: home?, risk, groups, custom: custom(table) };
        let capability = [OPENID, OFFLINE_ACCESS].contains(&scope.name.as_str());
        if capability && matches!(scope.home, ScopeHome::Api(_)) {
            table.wrong_at(
                "api",
                format!("cannot have `{}`, which is a capability of the issuer", scope.name),
                Some("write issuers = [\"...\"], the aliases of the issuers that may be asked for it, instead of api"),
            );
        }
        if let Some(other) = self.scopes.insert(scope.name.clone(), Arc::new(scope)) {
            table.wrong(
                format!("scope `{}` is declared twice", other.name),
                Some("a scope name belongs to one API; qualify it, such as crm:read"),
            );
        }
        Some(())
    }
}

/// Exactly one of `api` and `issuers`.
fn home(table: &Table<'_>, named: &Named<ApiAlias>) -> Option<ScopeHome> {
    let api = table.optional("api", |t| match ApiAlias::parse(t) {
        Some(alias) if named.may_be(&alias) => Ok(alias),
        _ => Err(format!("names no declared API: {t:?}")),
    });
    let issuers =
        table.list("issuers", |t| IssuerAlias::parse(t).ok_or_else(|| "must hold aliases of issuers".to_owned()));
    match (table.holds("api"), table.holds("issuers")) {
        (true, false) => api.map(ScopeHome::Api),
        (false, true) if !table.is_bare("issuers") => (!issuers.is_empty()).then_some(ScopeHome::Issuers(issuers)),
        _ => {
            table.wrong(
                "a scope needs exactly one of `api` (the API that understands it) and `issuers` (a capability such as openid)",
                None,
            );
            None
        }
    }
}

/// Whether a text is an absolute URI without fragment (RFC 8707 §2).
pub(super) fn is_resource(text: &str) -> bool {
    let clean = text.len() <= 2048 && text.bytes().all(|b| (0x21..=0x7e).contains(&b)) && !text.contains('#');
    clean && url::Url::parse(text).is_ok_and(|url| url.has_host() || !url.path().is_empty())
}
