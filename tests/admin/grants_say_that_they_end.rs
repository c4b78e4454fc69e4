//! What a stream of tokens follows: the word that a grant has ended, in this process.

use crate::{
    house::{COURIER, House},
    kit::{MAIL, admin, freeze, plan, revoke, target},
};
use narrowgate::{
    api::proto::{RevokeGrantRequest, revoke_grants_request::Which},
    app::Daemon,
    config,
    grant::{EndedBy, HANDLE_PREFIX},
};

/// A daemon in this process, at the doors of a house.
async fn inside(house: &House) -> Daemon {
    let file = house.path("narrowgate.toml");
    Daemon::start(config::load(&file).unwrap(), &file).await.unwrap()
}

// rows: CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_is_told_at_once_by_whom() {
    let mut plan = plan();
    // A port that the test can know: there is no log line to read it from.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    plan = plan.config("address = \"127.0.0.1:0\"", &format!("address = \"127.0.0.1:{port}\""));
    let house = plan.build();
    let daemon = inside(&house).await;
    let mut endings = daemon.corridor().grants.endings();
    let identity = house.agents_ca.client("agent", &[narrowgate::dev::ca::San::Uri(COURIER)]).unwrap();
    let mut agent = crate::house::tls_agent(port, &house.server_ca, identity).await.unwrap();
    let mut operator = admin(&house).await;
    for (way, by) in [("given back", EndedBy::Agent), ("revoked", EndedBy::Operator), ("frozen", EndedBy::Operator)] {
        let grant = house.login(&mut agent, &MAIL).await.unwrap().grant;
        match way {
            "given back" => {
                let request = RevokeGrantRequest { grant: grant.clone(), ..RevokeGrantRequest::default() };
                agent.revoke_grant(request).await.unwrap();
            }
            "revoked" => drop(revoke(&mut operator, Which::Of(target("client"))).await),
            _ => drop(freeze(&mut operator, "agent").await.unwrap()),
        }
        let ending = endings.try_recv().unwrap();
        assert_eq!((ending.handle.text(HANDLE_PREFIX), ending.by), (grant, by), "{way}");
        let of = (ending.agent.as_str(), ending.client.as_str(), ending.issuer.as_str());
        assert_eq!(of, ("courier", "sales-crm", "corp"));
        assert!(endings.try_recv().is_err(), "{way}: told twice");
    }
    daemon.stop().await;
}
