use crate::{
    house::COURIER,
    kit::{MAIL, admin, freeze, plan, refused, revoke, target, unfreeze},
    watching::{ended, now, token, watch},
};
use narrowgate::api::proto::revoke_grants_request::Which;
use tonic::Code;

/// How long a watcher waits before it looks by itself. One that is not woken learns nothing before.
const LOOK_EVERY_MILLIS: i128 = 5_000;

// rows: INTR-03 CACH-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_is_told_before_it_would_look_by_itself() {
    let house = plan().open().await;
    let mut admin = admin(&house).await;
    let mut agent = house.svid_agent(COURIER).await;
    let mut took = Vec::new();
    for way in ["agent", "client", "issuer", "revoked"] {
        let grant = house.login(&mut agent, &MAIL).await.unwrap().grant;
        let mut messages = watch(&mut agent, &grant).await.unwrap();
        token(&mut messages).await;
        let begun = now();
        if way == "revoked" {
            assert_eq!(revoke(&mut admin, Which::Of(target("client"))).await.grants, 1);
        } else {
            assert_eq!(freeze(&mut admin, way).await.unwrap().toll.unwrap().grants, 1, "{way}");
        }
        // Its grant is gone, whatever else is frozen.
        assert_eq!(ended(&mut messages).await.reason, "GRANT_UNKNOWN", "{way}");
        took.push(now() - begun);
        // Nobody gets around it by watching again.
        let (code, why) =
            if way == "agent" { (Code::PermissionDenied, "FROZEN") } else { (Code::NotFound, "GRANT_UNKNOWN") };
        refused(watch(&mut agent, &grant).await, code, why);
        assert_eq!(unfreeze(&mut admin, if way == "revoked" { "client" } else { way }).await, way != "revoked");
    }
    // Any one will do: this machine may be slow, but an unwoken watcher never is this quick.
    assert!(took.iter().any(|took| *took < LOOK_EVERY_MILLIS), "{took:?}");
    let refused = house.events("exchange.refused");
    assert!(refused.iter().any(|event| event["unmapped"]["narrowgate"]["operation"] == "WatchToken"), "{refused:?}");
}
