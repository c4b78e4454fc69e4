use crate::{
    house::{
        get,
        scripted_as::{
            ScriptedAs,
            behaviour::{Behaviour, Script},
            dpop::Dpop,
        },
    },
    kit::{CRM, READ, Resource, WRITE, granted, narrow, plan, proving, refused, sign, until},
    two::Two,
};
use narrowgate::api::proto::SignProofRequest;
use tonic::Code;

// rows: DPOP-05
#[tokio::test]
async fn a_nonce_in_a_good_answer_replaces_the_one_before() {
    let house = plan().open().await;
    house.server.dpop(|dpop| {
        dpop.demanded = Some("nonce-1".to_owned());
        dpop.next = Some("nonce-2".to_owned());
    });
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    let nonces: Vec<Option<String>> =
        house.server.proofs().iter().map(|proof| proof.claim("nonce").map(str::to_owned)).collect();
    // Never again the first one, and no challenge for the second.
    assert_eq!(nonces, [None, Some("nonce-1".to_owned()), Some("nonce-2".to_owned())]);
}

// rows: DPOP-07
#[tokio::test]
async fn a_good_answer_with_a_bad_nonce_is_refused_and_revoked_and_the_nonce_forgotten() {
    let nonce =
        |values: &[&str]| Behaviour::Headers(values.iter().map(|value| ("DPoP-Nonce", (*value).to_owned())).collect());
    let house = plan().open().await;
    house.server.dpop(|dpop| dpop.next = Some("nonce-good".to_owned()));
    let mut agent = house.agent().await;
    house.login(&mut agent, &[READ]).await.unwrap();
    let long = "n".repeat(1025);
    let bad: [&[&str]; 5] = [&["one", "two"], &["one", "one"], &["with space"], &["quote\"d"], &[&long]];
    for (at, values) in bad.into_iter().enumerate() {
        house.server.behave(Script::Token(nonce(values)));
        let answer = house.login(&mut agent, &[READ]).await;
        refused(answer, Code::FailedPrecondition, "AS_RESPONSE_MALFORMED");
        until("both revocations", || (house.server.revocations().len() == 2 * (at + 1)).then_some(())).await;
    }
    house.login(&mut agent, &[READ]).await.unwrap();
    let proofs = house.server.proofs();
    assert!(proofs[1..].iter().all(|proof| proof.claim("nonce") == Some("nonce-good")));
}

// rows: DPOP-06
#[tokio::test]
async fn what_a_resource_server_gave_never_reaches_the_authorization_server_nor_the_other_way() {
    let house = plan().open().await;
    house.server.dpop(|dpop| dpop.demanded = Some("nonce-of-as".to_owned()));
    let mut agent = house.agent().await;
    let redeemed = house.login(&mut agent, &[READ, WRITE]).await.unwrap();
    let mut resource = Resource::knowing(redeemed.token.as_ref().unwrap());
    let token = get(&mut agent, &redeemed.grant).await.unwrap().token.unwrap();
    // The resource server gives its own, and the agent tells it.
    let first = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    assert!(resource.get(CRM, &token, &first.proof).unwrap().claim("nonce").is_none());
    resource.nonce = Some("nonce-of-rs".to_owned());
    let second = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap();
    assert_eq!(resource.get(CRM, &token, &second.proof).err().unwrap(), "use_dpop_nonce nonce-of-rs");
    let told = SignProofRequest { nonce: "nonce-of-rs".to_owned(), ..proving(&redeemed.grant, CRM) };
    let third = sign(&mut agent, told).await.unwrap();
    resource.get(CRM, &token, &third.proof).unwrap();
    // It is remembered for this origin.
    let fourth = sign(&mut agent, proving(&redeemed.grant, &format!("{CRM}/7?page=2"))).await.unwrap();
    resource.get(&format!("{CRM}/7"), &token, &fourth.proof).unwrap();
    narrow(&mut agent, &redeemed.grant, &[READ]).await.unwrap();
    assert_eq!(house.server.proofs().last().unwrap().claim("nonce"), Some("nonce-of-as"));
    // Another grant of the same agent has heard nothing of it.
    let other = house.login(&mut agent, &[READ]).await.unwrap();
    let fresh = sign(&mut agent, proving(&other.grant, CRM)).await.unwrap();
    let fresh = crate::house::scripted_as::dpop::Proof::read(&fresh.proof).unwrap();
    assert_eq!(fresh.claim("nonce"), None);
}

// rows: DPOP-06
#[tokio::test]
async fn two_issuers_have_nonces_of_their_own() {
    let house = Two::open_with(plan(), "", "token_binding = \"dpop\"", |_| {}).await;
    let demand = |nonce: &'static str| move |dpop: &mut Dpop| dpop.demanded = Some(nonce.to_owned());
    house.house.server.dpop(demand("nonce-of-corp"));
    house.partner.dpop(demand("nonce-of-partner"));
    let mut agent = house.house.agent().await;
    for _ in 0..2 {
        house.house.login(&mut agent, &[READ]).await.unwrap();
        house.login(&mut agent).await.unwrap();
    }
    let sent = |server: &ScriptedAs| -> Vec<Option<String>> {
        server.proofs().iter().map(|proof| proof.claim("nonce").map(str::to_owned)).collect()
    };
    let [corp, partner] = ["nonce-of-corp", "nonce-of-partner"].map(|nonce| Some(nonce.to_owned()));
    assert_eq!(sent(&house.house.server), [None, corp.clone(), corp]);
    assert_eq!(sent(&house.partner), [None, partner.clone(), partner]);
}

// rows: DPOP-07
#[tokio::test]
async fn an_agent_cannot_put_anything_into_a_proof_as_its_nonce() {
    let (_house, mut agent, redeemed) = granted(plan()).await;
    for nonce in ["with space", "quote\"d", "back\\slash", "caf\u{e9}", "line\nbreak", &"n".repeat(1025)] {
        let told = SignProofRequest { nonce: nonce.to_owned(), ..proving(&redeemed.grant, CRM) };
        refused(sign(&mut agent, told).await, Code::InvalidArgument, "FIELD_INVALID");
    }
    let proof = sign(&mut agent, proving(&redeemed.grant, CRM)).await.unwrap().proof;
    assert_eq!(crate::house::scripted_as::dpop::Proof::read(&proof).unwrap().claim("nonce"), None);
}
