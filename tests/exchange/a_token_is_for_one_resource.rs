use crate::{
    asking::{READ, WRITE, begin, refused},
    house::{Plan, begin_request, redeem},
};
use narrowgate::api::proto::{BeginAuthorizationRequest, GetTokenRequest};
use tonic::Code;
use url::Url;

const CRM: &str = "https://crm.example.test/api";

fn naming(resource: &str) -> BeginAuthorizationRequest {
    BeginAuthorizationRequest { resource: resource.to_owned(), ..begin_request(&[READ]) }
}

// rows: RES-01
#[tokio::test]
async fn a_resource_is_an_absolute_uri_and_compared_byte_for_byte() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    for odd in
        ["mcp.example", "/api", "api", "https://x#f", "https://crm.example.test/api#", "//crm.example.test/api", " "]
    {
        refused(begin(&mut agent, naming(odd)).await, Code::InvalidArgument, "RESOURCE_SYNTAX");
    }
    // The one rule: the identifier of the catalogue, byte for byte. Nothing is normalised.
    for other in [
        "https://crm.example.test/api/",
        "https://CRM.example.test/api",
        "https://crm.example.test:443/api",
        "https://x",
        "urn:crm",
    ] {
        refused(begin(&mut agent, naming(other)).await, Code::NotFound, "RESOURCE_UNKNOWN");
    }
    assert_eq!(begin(&mut agent, naming(CRM)).await.unwrap().resource, CRM);
    assert_eq!(begin(&mut agent, naming("")).await.unwrap().resource, CRM);
}

// rows: RES-02
#[tokio::test]
async fn both_requests_name_the_same_resource_and_no_call_adds_one() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let begun = begin(&mut agent, begin_request(&[READ, WRITE])).await.unwrap();
    let url = Url::parse(&begun.authorization_url).unwrap();
    let asked: Vec<String> =
        url.query_pairs().filter(|(name, _)| name == "resource").map(|(_, value)| value.into_owned()).collect();
    assert_eq!(asked, [CRM]);
    let callback = house.server.approve(&begun.authorization_url);
    let redeemed = redeem(&mut agent, &begun.transaction, &callback).await.unwrap();
    assert_eq!(redeemed.token.unwrap().resource, CRM);
    // Another resource later, with a refresh or without.
    for scopes in [vec![], vec![READ.to_owned()]] {
        let (grant, resource) = (redeemed.grant.clone(), "https://mail.example.test/api".to_owned());
        let other = GetTokenRequest { grant, scopes, resource, ..GetTokenRequest::default() };
        refused(agent.get_token(other).await, Code::PermissionDenied, "SCOPE_NOT_GRANTED");
    }
    let narrow = GetTokenRequest { grant: redeemed.grant, scopes: vec![READ.to_owned()], ..GetTokenRequest::default() };
    agent.get_token(narrow).await.unwrap();
    let requests = house.server.token_requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let sent: Vec<&String> =
            request.form.iter().filter(|(name, _)| name == "resource").map(|(_, value)| value).collect();
        assert_eq!(sent, [CRM]);
    }
}

// rows: RES-03 (there is no flag for several: it is a mistake of the call)
#[tokio::test]
async fn scopes_of_two_resources_are_two_authorizations() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let both = begin_request(&[READ, "mail.read"]);
    refused(begin(&mut agent, both).await, Code::InvalidArgument, "FIELD_INVALID");
    // Nor by naming the other's resource.
    let crossed = BeginAuthorizationRequest { resource: CRM.to_owned(), ..begin_request(&["mail.read"]) };
    refused(begin(&mut agent, crossed).await, Code::NotFound, "RESOURCE_UNKNOWN");
    assert_eq!((house.server.token_connections(), house.server.front_connections()), (0, 0));
}
