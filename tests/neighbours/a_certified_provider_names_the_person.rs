use crate::{
    house::{Plan, fact, get, reason, redeem_request},
    oidc_house::{OidcHouse, Provider, parameter},
};

const ANA: &str = r#"
@id("not-ana")
@code("not_ana")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
unless { context has subject && context.subject.user == Narrowgate::User::"corp|ana" };
@id("mfa")
@code("mfa_required")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
when { context.base.scopes.contains(Narrowgate::Scope::"customers.write") }
unless { context has subject && context.subject.mfa };
"#;

/// The provider signs with ES256, publishes its keys at a place of its own, and logs in `ana` with nothing.
// rows: IDT-01 IDT-03 IDT-06
#[tokio::test]
async fn a_certified_provider_names_the_person() {
    // In the URL the nonce can be seen.
    let oidc = OidcHouse::open(
        Plan::new().policy(ANA).config("deadline = \"5s\"\n", "deadline = \"5s\"\npar = \"off\"\n"),
        Provider::default(),
    )
    .await;
    let mut agent = oidc.house.agent().await;
    let begun = oidc.house.begin(&mut agent, &["customers.read", "openid"]).await.unwrap();
    let callback = oidc.browse(&begun.authorization_url).await;
    let redeemed = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.unwrap().into_inner();
    let token = redeemed.token.unwrap();
    assert!(token.scopes.contains(&"customers.read".to_owned()));
    get(&mut agent, &redeemed.grant).await.unwrap();
    let issued = oidc.house.event("token.issued").await;
    assert_eq!(issued["unmapped"]["narrowgate"]["subject_known"], true);
    assert_eq!(issued["user"]["type"], "User");

    // Nobody is named to policy where nobody was asked for, and nothing is said of factors that were not used.
    for (scopes, code) in [(&["customers.read"][..], "not_ana"), (&["customers.write", "openid"][..], "mfa_required")] {
        let begun = oidc.house.begin(&mut agent, scopes).await.unwrap();
        let callback = oidc.browse(&begun.authorization_url).await;
        let status = agent.redeem_code(redeem_request(&begun.transaction, &callback)).await.err().unwrap();
        assert_eq!(reason(&status), "POLICY_DENIED");
        assert_eq!(fact(&status, "policy_code").as_deref(), Some(code));
    }
    let nonce = parameter(&begun.authorization_url, "nonce");
    oidc.assert_discreet(&[&token.access_token, &parameter(&callback, "code"), &nonce]);
}
