//! The scene of the kill switch.

use super::{
    Trouble,
    scenes::{Agent, First, Scenes, get, refusal, told},
};
use crate::{
    api::proto::{FreezeRequest, Target, UnfreezeRequest, admin_service_client::AdminServiceClient, target::Kind},
    cli::client,
};

impl Scenes<'_> {
    pub(super) async fn frozen(&mut self, quoter: &mut Agent, first: &First) -> Result<(), Trouble> {
        self.title("8  Frozen: an operator stops an agent at once");
        let held = get(quoter, &first.grant, &[]).await.map_err(told)?;
        let worked = self.stage.server.accepts(&held.access_token).is_some();
        let mut operator = AdminServiceClient::new(client::unix(self.stage.path("run/admin.sock")).await?);
        let target = || Some(Target { kind: Some(Kind::Agent("quoter".to_owned())) });
        let request = FreezeRequest { target: target(), ticket: "incident-4711".to_owned() };
        let frozen = operator.freeze(request).await.map_err(told)?.into_inner();
        let toll = frozen.toll.unwrap_or_default();
        self.say(&format!("freeze quoter: {} grants ended, {} tokens revoked", toll.grants, toll.tokens_revoked));
        let (reason, _) = refusal(get(quoter, &first.grant, &[]).await.err());
        self.say(&format!("quoter asks for its token: {reason}"));
        self.claim("quoter gets nothing any more", reason == "FROZEN");
        self.claim(
            "the token that it has already is revoked at the authorization server",
            worked && self.stage.server.accepts(&held.access_token).is_none(),
        );
        operator.unfreeze(UnfreezeRequest { target: target() }).await.map_err(told)?;
        let (reason, _) = refusal(get(quoter, &first.grant, &[]).await.err());
        let anew = self.login(quoter, "sales-crm", &["customers.read"]).await;
        self.say(&format!("unfreeze quoter: its old grant is {reason}, a new login works"));
        self.claim("a freeze that is lifted brings nothing back", reason == "GRANT_UNKNOWN" && anew.is_ok());
        Ok(())
    }
}
