//! The approval of a test case.

use super::{
    cases::{instant, owned, scope},
    context::{datetime, record, scopes},
    entities::uid,
};
use crate::{
    config::Table,
    model::{Scope, Wall},
};
use cedar_policy::RestrictedExpression as Expr;

/// Who approved what, and when.
pub(super) struct Approval {
    pub(super) approver: String,
    pub(super) team: String,
    at: Wall,
    scopes: Vec<Scope>,
}

impl Approval {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let approver = table.required("approver", owned);
        let team = table.required("approver_team", owned);
        let at = table.required("at", instant);
        let scopes = table.list("scopes", scope);
        Some(Self { approver: approver?, team: team?, at: at?, scopes })
    }

    pub(super) fn expression(&self) -> Result<Expr, String> {
        record([
            ("approver", Expr::new_entity_uid(uid("User", &self.approver)?)),
            ("at", datetime(self.at)),
            ("scopes", scopes(&self.scopes)?),
        ])
    }
}
