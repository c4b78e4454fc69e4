//! The caller hangs up, over the real wire, while its redemption stands still at each phase.

use crate::{
    house::{Agent, House, eventually, reason, unix_agent},
    ledger::{Ledger, References},
    phase::{Held, Phase, hold, hold_by},
    plan,
};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

/// How a caller goes away.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// RST_STREAM: the connection goes on.
    Reset,
    /// Its connection is closed under the call.
    Close,
    /// Its deadline passes.
    Deadline,
}

async fn held_for(house: &House, agent: &mut Agent, phase: Phase, way: Way) -> Option<Held> {
    match way {
        Way::Reset => hold(house, agent, phase).await,
        Way::Close => {
            // The only user of its connection, which goes with it.
            let mut own = unix_agent(&house.path("run/agent.sock")).await;
            hold_by(house, agent, phase, |request| async move { Ok(own.redeem_code(request).await?.into_inner()) })
                .await
        }
        Way::Deadline => {
            let mut caller = agent.clone();
            hold_by(house, agent, phase, |request| async move {
                let mut request = tonic::Request::new(request);
                // Long enough to get to any phase; the phase lasts longer.
                request.set_timeout(Duration::from_millis(1500));
                Ok(caller.redeem_code(request).await?.into_inner())
            })
            .await
        }
    }
}

async fn go_away(held: &mut Held, way: Way) {
    match way {
        Way::Reset | Way::Close => held.hang_up().await,
        Way::Deadline => {
            let status = held.answer().await.err().unwrap();
            assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
        }
    }
}

/// The daemon has noticed that nobody waits any more.
async fn noticed() {
    // There is nothing to see of it from outside; the assertions hold whether it has or not, but for Connecting.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

// rows: GRPC-05 (attack 28)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_post_nothing_is_spent_and_after_it_the_token_is_kept() {
    let house = plan().config("deadline = \"5s\"", "deadline = \"15s\"").open().await;
    let mut agent = house.agent().await;
    let mut points = 0;
    for way in [Way::Reset, Way::Close, Way::Deadline] {
        for phase in Phase::ALL {
            let posts = house.server.token_posts();
            let Some(mut held) = held_for(&house, &mut agent, phase, way).await else { continue };
            go_away(&mut held, way).await;
            noticed().await;
            held.go_on(&house);
            let closing = eventually("the closing line", || {
                let closes = |e: &serde_json::Value| {
                    e["metadata"]["correlation_uid"] == held.exchange.as_str()
                        && e["metadata"]["event_code"] != "exchange.decided"
                };
                house.audit().into_iter().find(closes)
            })
            .await;
            let mut agent = house.agent().await;
            let answer = agent.redeem_code(held.request.clone()).await;
            let answer = answer.unwrap_or_else(|s| panic!("{phase:?} {way:?}: {s:?}")).into_inner();
            assert_eq!(answer.recovered, phase.is_sent(), "{phase:?} {way:?}");
            let code = if phase.is_sent() { "token.issued" } else { "exchange.failed" };
            assert_eq!(closing["metadata"]["event_code"], code, "{phase:?} {way:?}");
            if !phase.is_sent() {
                assert_eq!(closing["status_code"], "DEADLINE_EXCEEDED", "{phase:?} {way:?}");
            }
            assert_eq!(house.server.token_posts(), posts + 1, "{phase:?} {way:?}");
            let issued = house.server.issues().pop().unwrap();
            assert_eq!(answer.token.unwrap().access_token, issued.access, "{phase:?} {way:?}");
            points += 1;
        }
    }
    eprintln!("hang-ups on the wire: {points} (3 ways, at each phase)");
    let books = Ledger::closed(&house.path("audit"));
    let references = References::of(&house.path("audit"));
    for issue in house.server.issues() {
        assert!(books.issued.contains_key(&references.access_token(&issue.access)));
    }
}

// rows: GRPC-05 (attack 28)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_nobody_comes_back_for_is_revoked() {
    let plan = plan().config("[limits]", "[limits]\nreplay_window = \"1s\"");
    let house = plan.config("[audit]", "[audit]\noutcome_hold = \"1s\"").open().await;
    let mut agent = house.agent().await;
    for phase in [Phase::Sent, Phase::HalfAnswered] {
        let mut held = hold(&house, &mut agent, phase).await.unwrap();
        held.hang_up().await;
        held.go_on(&house);
    }
    let issued: BTreeSet<String> = eventually("two issues", || {
        let issues = house.server.issues();
        (issues.len() == 2).then_some(issues)
    })
    .await
    .into_iter()
    .flat_map(|issue| [issue.access, issue.refresh])
    .collect();
    eventually("every revocation", || (house.events("token.revoked").len() == issued.len()).then_some(())).await;
    let revoked: BTreeSet<String> = house.server.revocations().into_iter().map(|(_, token)| token).collect();
    assert_eq!(revoked, issued);
    assert!(house.events("token.revoked").iter().all(|e| e["unmapped"]["narrowgate"]["why"] == "reply_lost"));
    Ledger::closed(&house.path("audit"));
}

// rows: GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hung_up_on_a_revocation_has_it_done_all_the_same() {
    let house = plan().open().await;
    let mut agent = house.agent().await;
    let grant = house.login(&mut agent, &["customers.read"]).await.unwrap().grant;
    house.server.set_pause(true);
    let request = narrowgate::api::proto::RevokeGrantRequest { grant: grant.clone(), ..Default::default() };
    let mut caller = agent.clone();
    let call = tokio::spawn(async move { caller.revoke_grant(request).await.map(drop) });
    eventually("the revocation", || (house.server.revocation_posts() > 0).then_some(())).await;
    call.abort();
    assert!(call.await.err().unwrap().is_cancelled());
    noticed().await;
    house.server.set_pause(false);
    eventually("both", || (house.events("token.revoked").len() == 2).then_some(())).await;
    let status = crate::house::get(&mut agent, &grant).await.err().unwrap();
    assert_eq!(reason(&status), "GRANT_UNKNOWN");
    assert_eq!(house.server.revocation_posts(), 2);
}
