use crate::house::{Plan, get};

#[tokio::test]
async fn a_code_becomes_a_narrow_token() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &["customers.read", "customers.write"]).await.unwrap();
    let token = redeemed.token.unwrap();
    assert!(token.access_token.starts_with("canary-at-"));
    assert_eq!(token.scopes, ["customers.read", "customers.write"]);
    assert_eq!(token.resource, "https://crm.example.test/api");
    let again = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
    assert_eq!(again.access_token, token.access_token);
    let request = house.server.last_token_request().unwrap();
    assert_eq!(request.param("client_id"), Some("narrowgate-sales"));
    assert_eq!(house.server.token_posts(), 1);
    house.event("token.issued").await;
    house.assert_no_secret_leaked();
}
