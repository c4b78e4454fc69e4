//! The scenes, and the first of them. Each claim that is printed is checked.

use super::{
    Trouble,
    stage::{COURIER, Stage},
};
use crate::{
    api::proto::{
        BeginAuthorizationRequest, GetTokenRequest, RedeemCodeRequest, RedeemCodeResponse, Token,
        redeem_code_request::Callback, token_service_client::TokenServiceClient,
    },
    audit,
    cli::{DaemonArgs, client, output::Output},
};
use serde_json::Value;
use std::time::Duration;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

pub(super) type Agent = TokenServiceClient<Channel>;

/// The scenes, and what became of their claims.
pub(super) struct Scenes<'s> {
    pub(super) stage: &'s Stage,
    output: &'s Output,
    /// Claims that held.
    pub(super) passed: usize,
    /// Claims that did not.
    pub(super) failed: Vec<String>,
}

/// What the first scene leaves for the later ones.
pub(super) struct First {
    transaction: String,
    callback: String,
    pub(super) grant: String,
}

impl<'s> Scenes<'s> {
    pub(super) const fn new(stage: &'s Stage, output: &'s Output) -> Self {
        Self { stage, output, passed: 0, failed: Vec::new() }
    }

    /// Plays all of them.
    pub(super) async fn play(&mut self) -> Result<(), Trouble> {
        self.say(
            "Everything below is real: TLS, sockets, files. The authorization server is embedded; all is on loopback.",
        );
        let mut quoter = self.agent(None).await?;
        let mut courier = self.agent(Some("courier")).await?;
        let first = self.narrow(&mut quoter).await?;
        self.denied(&mut courier).await?;
        self.replayed(&mut quoter, &first).await?;
        self.foreign(&mut quoter, &mut courier, &first).await?;
        self.narrowed_again(&mut quoter, &first).await?;
        self.refreshed_ahead(&mut quoter).await?;
        self.bound(&mut quoter).await?;
        self.frozen(&mut quoter, &first).await?;
        self.recorded().await
    }

    async fn narrow(&mut self, quoter: &mut Agent) -> Result<First, Trouble> {
        self.title("1  A code goes in, a narrow token comes out");
        let asked = ["customers.read", "customers.write", "customers.delete"];
        self.say(&format!("quoter, by Unix socket, asks for    {}", asked.join(" ")));
        let begun = begin(quoter, "sales-crm", &asked, true).await?;
        let refused: Vec<String> =
            begun.refused_scopes.iter().map(|r| format!("{} ({})", r.scope, r.policy_code)).collect();
        self.say(&format!("Cedar allows                        {}", begun.scopes.join(" ")));
        self.say(&format!("and refuses                         {}", refused.join(", ")));
        let callback = self.approve(&begun.authorization_url).await?;
        let request = redeem_request(&begun.transaction, &callback);
        let redeemed = quoter.redeem_code(request).await.map_err(told)?.into_inner();
        let token = token_of(&redeemed)?;
        self.say(&format!(
            "the person approves; one POST over mutual TLS; the token carries\n{:38}{}",
            "",
            token.scopes.join(" ")
        ));
        self.say(&format!("for {}, leased {} of {}", token.resource, minutes(&token, true), minutes(&token, false)));
        let accepted = self.stage.server.accepts(&token.access_token);
        self.claim(
            "the resource server accepts it, for exactly these scopes",
            accepted.is_some_and(|facts| {
                let mut scopes: Vec<&str> = facts.scope.split(' ').collect();
                scopes.sort_unstable();
                scopes == ["customers.read", "customers.write"] && facts.audience == token.resource
            }),
        );
        self.claim(
            "the code was sent once",
            self.stage.server.token_requests() == 1 && self.stage.server.codes_redeemed() == 1,
        );
        Ok(First { transaction: begun.transaction, callback, grant: redeemed.grant })
    }

    async fn denied(&mut self, courier: &mut Agent) -> Result<(), Trouble> {
        self.title("2  Denied: the code never leaves the host");
        self.say(&format!("courier, by mutual TLS as {COURIER}, asks for mail.read"));
        let begun = begin(courier, "sales-crm", &["mail.read"], false).await?;
        let callback = self.approve(&begun.authorization_url).await?;
        let before = self.stage.server.token_connections();
        let answer = courier.redeem_code(redeem_request(&begun.transaction, &callback)).await;
        let after = self.stage.server.token_connections();
        let (reason, code) = refusal(answer.err());
        self.say(&format!("the person approves, courier presents the code: {reason} ({code})"));
        let policy = self.denying_policy().await;
        self.say(&format!("denied by policy {policy}"));
        self.say(&format!("TCP connections at the token listener: {before} before, {after} after"));
        self.claim("policy said no", reason == "POLICY_DENIED" && policy == "guard.trust");
        self.claim("the token listener saw not even a connection", before == after);
        Ok(())
    }

    async fn replayed(&mut self, quoter: &mut Agent, first: &First) -> Result<(), Trouble> {
        self.title("3  A replayed code is refused");
        let answer = quoter.redeem_code(redeem_request(&first.transaction, &first.callback)).await;
        let (reason, _) = refusal(answer.err());
        self.say(&format!("quoter presents the first code again: {reason}"));
        self.claim(
            "the server was not asked again",
            reason == "CODE_ALREADY_USED" && self.stage.server.token_requests() == 1,
        );
        Ok(())
    }

    async fn foreign(&mut self, quoter: &mut Agent, courier: &mut Agent, first: &First) -> Result<(), Trouble> {
        self.title("4  A grant belongs to its agent");
        let wanted = || GetTokenRequest { grant: first.grant.clone(), ..GetTokenRequest::default() };
        let (reason, _) = refusal(courier.get_token(wanted()).await.err());
        self.say(&format!("courier asks for quoter's grant: {reason}"));
        let own = quoter.get_token(wanted()).await;
        self.claim("courier learns nothing, and quoter still gets its token", reason == "GRANT_UNKNOWN" && own.is_ok());
        Ok(())
    }

    async fn recorded(&mut self) -> Result<(), Trouble> {
        self.title("9  Nothing happens unrecorded");
        self.events_with("token.served").await;
        let checked = audit::self_check(&self.stage.path("audit")).map_err(|e| e.to_string())?;
        for event in &checked.events {
            let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let (code, agent) = (text("/metadata/event_code"), text("/actor/user/uid"));
            self.say(&format!("{:>3}  {code:<24} {agent:<8} {}", number(event), text("/status_code")));
        }
        let text = checked.events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let clean = !text.contains("eyJ") && !text.contains("code=");
        self.claim(
            "every line is whole, in sequence, and every decided exchange has its outcome",
            checked.problems.is_empty(),
        );
        self.claim("no code and no token is in it", clean);
        Ok(())
    }

    /// A whole login by a client: the grant and its first token.
    pub(super) async fn login(
        &self,
        agent: &mut Agent,
        client: &str,
        scopes: &[&str],
    ) -> Result<(String, Token), Trouble> {
        let begun = begin(agent, client, scopes, false).await?;
        let callback = self.approve(&begun.authorization_url).await?;
        let redeemed =
            agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.map_err(told)?.into_inner();
        Ok((redeemed.grant.clone(), token_of(&redeemed)?))
    }

    /// The person's browser, over real HTTPS.
    async fn approve(&self, url: &str) -> Result<String, Trouble> {
        self.stage.server.approve(url).await.map_err(|e| e.to_string())
    }

    async fn agent(&self, svid: Option<&str>) -> Result<Agent, Trouble> {
        let socket = format!("unix:{}", self.stage.path("run/agent.sock").display());
        let port = self.stage.daemon.address.map(|a| a.port()).unwrap_or_default();
        let file = |suffix: &str| svid.map(|name| self.stage.path(&format!("{name}.{suffix}")));
        let arguments = DaemonArgs {
            endpoint: if svid.is_some() { format!("https://localhost:{port}") } else { socket },
            ca: svid.map(|_| self.stage.path("server-ca.pem")),
            cert: file("pem"),
            key: file("key"),
        };
        client::connect(&arguments).await.map(TokenServiceClient::new).map_err(|(_, wrong)| wrong)
    }

    /// The forbid that determined the last denied exchange, from the audit log.
    async fn denying_policy(&self) -> String {
        let mut denied = self
            .events_with("exchange.decided")
            .await
            .into_iter()
            .filter(|e| e.get("action_id") == Some(&Value::from(2)));
        let event = denied.next_back().unwrap_or_default();
        let policies = event.get("authorizations").and_then(Value::as_array).cloned().unwrap_or_default();
        let forbid = policies.iter().find(|a| a.get("decision").and_then(Value::as_str) == Some("Deny"));
        forbid.and_then(|a| a.pointer("/policy/uid")).and_then(Value::as_str).unwrap_or("none").to_owned()
    }

    /// The events with this code; waits a moment for the first, since hand-outs are queued.
    pub(super) async fn events_with(&self, code: &str) -> Vec<Value> {
        for _ in 0..100 {
            let events = audit::self_check(&self.stage.path("audit")).map(|c| c.events).unwrap_or_default();
            let found: Vec<Value> = events
                .into_iter()
                .filter(|e| e.pointer("/metadata/event_code").and_then(Value::as_str) == Some(code))
                .collect();
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Vec::new()
    }

    pub(super) fn title(&self, text: &str) {
        self.say(&format!("\n{text}"));
    }

    pub(super) fn say(&self, text: &str) {
        if !self.output.is_json() {
            let indent = if text.starts_with('\n') { "" } else { "   " };
            self.output.text(&format!("{indent}{text}\n"));
        }
    }

    pub(super) fn claim(&mut self, claim: &str, holds: bool) {
        self.say(&format!("{} {claim}", if holds { "ok  " } else { "NOT " }));
        if holds {
            self.passed += 1;
        } else {
            self.failed.push(claim.to_owned());
        }
    }
}

async fn begin(
    agent: &mut Agent,
    client: &str,
    scopes: &[&str],
    allow_partial: bool,
) -> Result<crate::api::proto::BeginAuthorizationResponse, Trouble> {
    let request = BeginAuthorizationRequest {
        client: client.to_owned(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        allow_partial,
        ..BeginAuthorizationRequest::default()
    };
    Ok(agent.begin_authorization(request).await.map_err(told)?.into_inner())
}

fn redeem_request(transaction: &str, callback: &str) -> RedeemCodeRequest {
    RedeemCodeRequest {
        transaction: transaction.to_owned(),
        callback: Some(Callback::CallbackUrl(callback.to_owned())),
        ..RedeemCodeRequest::default()
    }
}

fn token_of(redeemed: &RedeemCodeResponse) -> Result<Token, Trouble> {
    redeemed.token.clone().ok_or_else(|| "the answer has no token".to_owned())
}

/// The token of a grant, with as few scopes as named, or all.
pub(super) async fn get(agent: &mut Agent, grant: &str, scopes: &[&str]) -> Result<Token, Status> {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    let request = GetTokenRequest { grant: grant.to_owned(), scopes, ..GetTokenRequest::default() };
    agent.get_token(request).await?.into_inner().token.ok_or_else(|| Status::internal("the answer has no token"))
}

pub(super) fn told(status: Status) -> Trouble {
    client::explain(&status).0
}

/// The reason and the policy's code in a refusal.
pub(super) fn refusal(status: Option<Status>) -> (String, String) {
    let info = status.and_then(|s| s.get_details_error_info());
    let code = info.as_ref().and_then(|i| i.metadata.get("policy_code").cloned()).unwrap_or_default();
    (info.map_or_else(|| "not refused".to_owned(), |i| i.reason), code)
}

fn minutes(token: &Token, lease: bool) -> String {
    let now = crate::platform::Clock::wall(&crate::platform::SystemClock).0 / 1000;
    let at = if lease { token.lease_time } else { token.expire_time };
    let seconds = at.map_or(0, |at| at.seconds - now);
    format!("{} min", (seconds + 30) / 60)
}

fn number(event: &Value) -> u64 {
    event.pointer("/metadata/sequence").and_then(Value::as_u64).unwrap_or_default()
}
