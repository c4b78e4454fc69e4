//! Random sets of policies, and random questions to them, for the tests of the engine.

use super::{
    Snapshot,
    asked::{Part, Step},
    context::{boolean, context, count, datetime, duration, entity, moving, now, record, text},
    engine_conditions::CONDITIONS,
    engine_dice::Dice,
    load::of_texts,
    question::{Own, Question},
    value::{Fields, Uid, Value},
};
use crate::model::{Scope, Wall};
use std::{net::IpAddr, sync::Arc};

const ACTIONS: [&str; 10] = [
    "begin_authorization",
    "redeem_code",
    "refresh_token",
    "exchange_token",
    "jwt_bearer",
    "client_credentials",
    "release_token",
    "sign_proof",
    "register_authorization",
    "revoke_token",
];
const SCOPES: [&str; 6] = ["crm.read", "crm.write", "crm.delete", "mail.read", "mail.send", "openid"];

pub(super) fn entities() -> String {
    let uid = |kind: &str, id: &str| serde_json::json!({ "type": format!("Narrowgate::{kind}"), "id": id });
    let mut all = Vec::new();
    let mut put = |kind: &str, id: &str, mut attrs: serde_json::Value, parents: Vec<serde_json::Value>| {
        if ["Agent", "Api", "Scope"].contains(&kind) {
            attrs["custom"] = serde_json::json!({});
        }
        all.push(serde_json::json!({ "uid": uid(kind, id), "attrs": attrs, "parents": parents }));
    };
    for team in ["sales", "ops"] {
        put("Team", team, serde_json::json!({}), vec![]);
    }
    for (kind, id) in [("AgentGroup", "writers"), ("UserGroup", "admins"), ("UserGroup", "staff")] {
        put(kind, id, serde_json::json!({}), vec![]);
    }
    for (group, above) in [("readonly", None), ("changes", None), ("deletes", Some("changes"))] {
        put(
            "ScopeGroup",
            group,
            serde_json::json!({}),
            above.map(|above| uid("ScopeGroup", above)).into_iter().collect(),
        );
    }
    put("Daemon", "narrowgate", serde_json::json!({}), vec![]);
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let team = if n % 2 == 0 { "sales" } else { "ops" };
        let attrs = serde_json::json!({
            "owner": uid("Team", team), "environment": uid("Environment", if n == 4 { "dev" } else { "prod" }),
            "trust": n, "quarantined": n == 3,
        });
        let writers = (n == 2).then(|| uid("AgentGroup", "writers"));
        put("Agent", id, attrs, [uid("Team", team)].into_iter().chain(writers).collect());
    }
    put(
        "Issuer",
        "corp",
        serde_json::json!({ "url": "https://as.test", "environment": uid("Environment", "prod") }),
        vec![],
    );
    for (id, team, ceiling) in [("crm", "sales", "3600000ms"), ("mail", "ops", "600000ms")] {
        let attrs = serde_json::json!({
            "issuer": uid("Issuer", "corp"), "owner": uid("Team", team), "environment": uid("Environment", "prod"),
            "redirectUris": ["https://a.test/cb"], "authMethod": "tls_client_auth", "boundTokens": false,
            "lifetimeCeiling": ceiling,
        });
        put("Client", id, attrs, vec![uid("Issuer", "corp")]);
        let attrs =
            serde_json::json!({ "identifier": "https://x.test", "owner": uid("Team", team), "dataClass": "internal" });
        put("Api", id, attrs, vec![uid("Issuer", "corp")]);
    }
    for (n, (id, group)) in
        SCOPES.into_iter().zip(["readonly", "changes", "deletes", "readonly", "changes", ""]).enumerate()
    {
        let home = if n < 3 {
            Some("crm")
        } else if n < 5 {
            Some("mail")
        } else {
            None
        };
        let home = home.map(|home| uid("Api", home));
        let group = (!group.is_empty()).then(|| uid("ScopeGroup", group));
        let parents = [Some(uid("Issuer", "corp")), home, group].into_iter().flatten().collect();
        put("Scope", id, serde_json::json!({ "name": id, "risk": n % 4 }), parents);
    }
    serde_json::to_string(&all).unwrap()
}

/// One policy; not always a valid one.
fn policy(dice: &mut Dice, number: u64) -> String {
    let (wanted, first) = CONDITIONS[usize::try_from(dice.below(CONDITIONS.len() as u64)).unwrap()];
    let second = dice.in_ten(4).then(|| CONDITIONS[usize::try_from(dice.below(27)).unwrap()].1);
    let action = match wanted {
        "" => dice
            .one(&[
                "action",
                "action in Narrowgate::Action::\"obtain\"",
                "action in Narrowgate::Action::\"acquire\"",
                "action == Narrowgate::Action::\"grant_scope\"",
                "action == Narrowgate::Action::\"grant_scope\"",
                "action in [Narrowgate::Action::\"release_token\", Narrowgate::Action::\"redeem_code\"]",
                "action in [Narrowgate::Action::\"acquire\", Narrowgate::Action::\"sign_proof\"]",
            ])
            .to_owned(),
        action => format!("action == Narrowgate::Action::\"{action}\""),
    };
    let principal = dice.one(&[
        "principal",
        "principal",
        "principal is Narrowgate::Agent",
        "principal == Narrowgate::Agent::\"a\"",
        "principal in Narrowgate::Team::\"sales\"",
        "principal is Narrowgate::Agent in Narrowgate::AgentGroup::\"writers\"",
    ]);
    let resource = if action.contains("grant_scope") {
        dice.one(&[
            "resource",
            "resource == Narrowgate::Scope::\"crm.read\"",
            "resource in Narrowgate::ScopeGroup::\"changes\"",
            "resource is Narrowgate::Scope in Narrowgate::Api::\"mail\"",
        ])
    } else {
        dice.one(&[
            "resource",
            "resource is Narrowgate::Client",
            "resource in Narrowgate::Issuer::\"corp\"",
            "resource == Narrowgate::Client::\"crm\"",
        ])
    };
    let permit = dice.in_ten(7);
    let notes = match (permit, dice.below(4)) {
        (true, 0) => "@max_lifetime(\"5m\")",
        (true, 1) => "@expires(\"2026-11-23\")",
        (true, 2) => "@max_lifetime(\"1m\") @no_refresh",
        (true, _) => "",
        (false, _) => "@code(\"no\")",
    };
    let body = |dice: &mut Dice, condition: &str| {
        let filled = condition.replace('@', &dice.below(5).to_string()).replace('~', &(1 + dice.below(9)).to_string());
        if dice.in_ten(2) { format!("!({filled})") } else { filled }
    };
    let mut when = format!("when {{ {} }}", body(dice, first));
    if let Some(second) = second {
        let word = if dice.in_ten(7) { "when" } else { "unless" };
        when.push_str(&format!(" {word} {{ {} }}", body(dice, second)));
    }
    let effect = if permit { "permit" } else { "forbid" };
    format!("@id(\"p{number}\") {notes} {effect} ({principal}, {action}, {resource}) {when};")
}

pub(super) fn set(dice: &mut Dice, policies: u64) -> Snapshot {
    let mut texts: Vec<String> = (0..policies).map(|number| policy(dice, number)).collect();
    texts.push("@id(\"any\") permit (principal, action in Narrowgate::Action::\"obtain\", resource) when { principal.trust >= 1 };".to_owned());
    texts
        .push("@id(\"scope\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);".to_owned());
    texts.push("@id(\"ends\") @expires(\"2026-11-23\") @max_lifetime(\"1m\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);".to_owned());
    texts.push("@id(\"admins\") @code(\"no\") forbid (principal, action == Narrowgate::Action::\"release_token\", resource) when { context has subject && context.subject.user in Narrowgate::UserGroup::\"admins\" };".to_owned());
    let (snapshot, left_out) = of_texts(texts.iter().map(String::as_str), &entities());
    assert!(left_out < texts.len() / 2, "most policies are no policies");
    snapshot
}

fn base(dice: &mut Dice, at: Wall) -> Value<'static> {
    let mut clock = Dice::at(at);
    let expires = dice
        .in_ten(5)
        .then(|| ("expiresAt", datetime(Wall(at.0 + 1_000 * (i64::try_from(clock.below(3)).unwrap() - 1)))));
    let attestation = record([("method", text("unix-peer")), ("verified", boolean(true))].into_iter().chain(expires));
    let mut caller = vec![("transport", text("uds")), ("attestation", attestation)];
    // What may be there or not differs from one moment to the next; the rest of the question stays as it is.
    let (uid, net) = (dice.below(3), u8::try_from(dice.below(3)).unwrap());
    if clock.in_ten(5) {
        caller.push(("uid", count(1000 + uid)));
    }
    if clock.in_ten(3) {
        caller.push(("ip", Value::Ip(IpAddr::from([10, net, 0, 1]))));
    }
    if dice.in_ten(3) {
        caller.push(("interactive", boolean(dice.in_ten(5))));
    }
    let mut claimed = Vec::new();
    if dice.in_ten(3) {
        claimed.push(("purpose", text(dice.one(&["quote", "renewal"]))));
    }
    if dice.in_ten(3) {
        claimed.push(("tags", Value::set([text(dice.one(&["x", "y"])), text("z")])));
    }
    let members: Vec<Value<'static>> =
        ["a", "c"].into_iter().filter(|_| dice.in_ten(2)).map(|id| entity("Agent", id)).collect();
    let lifetime = clock.span(&[60, 120, 300, 599, 3600]);
    let mut fields = vec![
        ("now", now(at)),
        ("caller", record(caller)),
        ("scopes", some_scopes(dice)),
        ("audiences", Value::set([entity("Api", dice.one(&["crm", "mail"]))])),
        ("proof", record([("method", text(dice.one(&["none", "mtls"])))])),
        ("lifetime", if dice.in_ten(5) { moving(lifetime) } else { duration(lifetime) }),
        ("claimed", record(claimed)),
        ("actors", record([("depth", count(dice.below(3))), ("members", Value::set(members))])),
    ];
    let scopes = some_scopes(dice);
    if clock.in_ten(4) {
        let approved = Wall(at.0 - 3_600_000 * i64::try_from(clock.below(10)).unwrap());
        fields.push((
            "approval",
            record([("approver", entity("User", "corp|ann")), ("at", datetime(approved)), ("scopes", scopes)]),
        ));
    }
    record(fields)
}

fn some_scopes(dice: &mut Dice) -> Value<'static> {
    let mut scopes = vec![entity("Scope", dice.one(&SCOPES))];
    if dice.in_ten(3) {
        scopes.push(entity("Scope", dice.one(&SCOPES)));
    }
    Value::set(scopes)
}

fn extra(dice: &mut Dice, action: &str, at: Wall) -> (Vec<(&'static str, Value<'static>)>, Vec<Own>) {
    let mut clock = Dice::at(at);
    let mut age = || moving(clock.span(&[1, 9, 10, 20, 39, 600, 7200]));
    let fields = match action {
        "begin_authorization" => {
            vec![("redirectUri", text("https://a.test/cb")), ("pkceMethod", text("S256")), ("par", boolean(false))]
        }
        "redeem_code" => vec![
            ("redirectUri", text("https://a.test/cb")),
            ("pkceMethod", text("S256")),
            ("codeAge", age()),
            ("transactionAge", age()),
            ("issVerified", boolean(true)),
            ("stateVerified", boolean(true)),
            ("sameCaller", boolean(true)),
        ],
        "refresh_token" => vec![("grantAge", age()), ("refreshCount", count(dice.below(4)))],
        "exchange_token" => vec![
            ("subjectIssuer", entity("Issuer", "corp")),
            ("subjectTokenType", text(dice.one(&["jwt", "access"]))),
            ("requestedTokenType", text("access")),
            ("impersonation", boolean(dice.in_ten(5))),
        ],
        "jwt_bearer" => vec![("subjectIssuer", entity("Issuer", "corp"))],
        "sign_proof" => vec![("httpMethod", text(dice.one(&["GET", "POST"]))), ("origin", text("https://x.test"))],
        "register_authorization" => vec![
            ("redirectUri", text("https://a.test/cb")),
            ("pkceMethod", text("S256")),
            ("forAgent", entity("Agent", "b")),
        ],
        "release_token" => return released(dice, at),
        _ => Vec::new(),
    };
    (fields, Vec::new())
}

fn released(dice: &mut Dice, at: Wall) -> (Vec<(&'static str, Value<'static>)>, Vec<Own>) {
    let mut clock = Dice::at(at);
    let token = record([
        ("scopes", some_scopes(dice)),
        ("lifetime", moving(clock.span(&[300, 600, 601, 3600, 3601]))),
        ("audiences", Value::set([])),
        ("proof", record([("method", text("none"))])),
        ("refreshable", boolean(true)),
        ("unknownScopes", boolean(false)),
        ("toleratedScopes", Value::set([])),
    ]);
    let mut fields = vec![("handOut", text(dice.one(&["first", "again"]))), ("token", token)];
    if dice.in_ten(5) {
        return (fields, Vec::new());
    }
    // One name, of whom two issuers' words would say different groups.
    let user = Uid::new("User", "corp|bob");
    let groups = ["admins", "staff"].into_iter().filter(|_| clock.in_ten(5)).map(|group| Uid::new("UserGroup", group));
    let own = Own { uid: user.clone(), parents: groups.collect() };
    let logged_in = Wall(at.0 - 1_800_000 * i64::try_from(clock.below(10)).unwrap());
    let known = clock.in_ten(7).then(|| ("authTime", datetime(logged_in)));
    let facts = [("user", Value::Entity(user)), ("mfa", boolean(true))];
    fields.push(("subject", record(facts.into_iter().chain(known))));
    (fields, vec![own])
}

/// A gate's question, and one for each of some scopes.
pub(super) fn round(dice: &mut Dice, at: Wall) -> (Vec<Step<'static>>, Vec<Own>) {
    let principal = Uid::new("Agent", dice.one(&["a", "b", "c", "d", "e"]));
    let action = if dice.in_ten(3) { "release_token" } else { dice.one(&ACTIONS) };
    let client = Uid::new("Client", dice.one(&["crm", "mail"]));
    let base = base(dice, at);
    let (extra, own) = extra(dice, action, at);
    let bare = || {
        context([
            ("now", now(at)),
            (
                "caller",
                record([
                    ("transport", text("uds")),
                    ("attestation", record([("method", text("unix-peer")), ("verified", boolean(true))])),
                ]),
            ),
        ])
    };
    let gate: Fields<'static> =
        if action == "revoke_token" { bare() } else { context([("base", base.clone())].into_iter().chain(extra)) };
    let ask = |part, action, resource, context| Step {
        part,
        question: Some(Question {
            principal: principal.clone(),
            action: Uid::new("Action", action),
            resource,
            context,
        }),
    };
    let mut steps = vec![ask(Part::Gate, action, client.clone(), gate)];
    let flow = text(dice.one(&["hold", "code"]));
    let shared = context([("base", base), ("client", Value::Entity(client)), ("flow", flow)]);
    for scope in SCOPES.into_iter().filter(|_| dice.in_ten(3)) {
        let part = Part::Scope(Scope::parse(scope).unwrap());
        steps.push(ask(part, "grant_scope", Uid::new("Scope", scope), Arc::clone(&shared)));
    }
    (steps, own)
}
