//! Two issuers at one address, whose certificates hold the same name.

use crate::{
    house::Plan,
    two::{CORP, Two},
};

// rows: MTLS-10
#[tokio::test]
async fn each_is_shown_its_own_certificate_on_its_own_connection() {
    let two = Two::open(Plan::new(), "", |_| {}).await;
    let mut agent = two.house.agent().await;
    two.house.login(&mut agent, &[CORP]).await.unwrap();
    two.login(&mut agent).await.unwrap();
    assert_eq!((two.house.server.token_connections(), two.partner.token_connections()), (1, 1));
    let shown = |request: crate::house::scripted_as::record::TokenRequest| request.client_certificate_der.unwrap();
    let corp = shown(two.house.server.last_token_request().unwrap());
    assert_ne!(corp, shown(two.partner.last_token_request().unwrap()));
}
