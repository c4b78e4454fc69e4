use crate::{
    house::{
        COURIER, eventually,
        scripted_as::behaviour::{Behaviour, Script},
    },
    kit::{MAIL, admin, refused},
    swapping::{plan, put},
};
use narrowgate::api::proto::{ClientCredentialsGrant, ObtainTokenRequest, ReloadRequest, obtain_token_request::Grant};
use tonic::Code;

// rows: CACH-04 (nothing is waited for between the last look at the policy set and the first byte)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_leaves_under_a_set_that_was_overtaken_while_its_keys_came() {
    let yes = "@id(\"as-itself\") permit (principal, action == Narrowgate::Action::\"client_credentials\", resource);";
    let contract = "deadline = \"5s\"\n\n[issuer.access_token]\ncontract = \"jwt\"\n";
    let mut plan = plan("1h").config("deadline = \"5s\"\n", contract).policy(yes);
    plan.config.push_str("client_credentials = true\n");
    let house = plan.open().await;
    let mut agent = house.svid_agent(COURIER).await;
    house.server.behave(Script::Jwks(Behaviour::Delay { ms: 2_500, then: Box::new(Behaviour::Honest) }));
    let request = ObtainTokenRequest {
        client: "sales-crm".to_owned(),
        grant: Some(Grant::ClientCredentials(ClientCredentialsGrant {})),
        scopes: vec![MAIL[0].to_owned()],
        ..ObtainTokenRequest::default()
    };
    let asking = tokio::spawn(async move { agent.obtain_token(request).await });
    house.event("exchange.decided").await;
    eventually("the keys are asked for", || Some(()).filter(|()| house.server.jwks_requests() == 1)).await;
    let no =
        "@id(\"later\") @code(\"closed\")\nforbid (principal, action in Narrowgate::Action::\"obtain\", resource);";
    put(&house, "policies/later.cedar", no);
    admin(&house).await.reload(ReloadRequest::default()).await.unwrap();
    assert_eq!(house.server.token_posts(), 0, "the keys came too soon for this test");
    refused(asking.await.unwrap(), Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(house.server.token_posts(), 0, "the request left although the set had changed before");
}
