//! Every await of a call, one by one: its future is polled so many times and then dropped, as hyper drops it when the
//! caller hangs up.

use crate::{
    house::{
        COURIER, House, Plan,
        scripted_as::{
            Callback as Came,
            behaviour::{Behaviour, Script},
        },
    },
    ledger::{Ledger, References},
};
use narrowgate::{
    app::Daemon,
    audit::Recorded,
    caller::{Caller, Peer, Svid},
    config,
    exchange::{BeginInput, Corridor, RedeemInput, TokenInput},
    grant::{By, Reply, Wanted},
    model::{Claimed, Fault, Handle, LoginDemand, Reason},
    oauth::AuthorizationServers,
    transaction::{self, Callback, Presented, Settled},
};
use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use uuid::Uuid;

/// A daemon in this process, before a scripted server.
struct Inside {
    daemon: Daemon,
    file: PathBuf,
    house: House,
}

/// What a caller needs to redeem.
struct Login {
    transaction: String,
    came: Came,
    id: Uuid,
}

/// Polls a future at most so many times, then drops it; what it came to, if it did.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = Some(Box::pin(future));
    let mut count = 0;
    poll_fn(move |context| {
        if let Some(running) = future.as_mut().filter(|_| count < times) {
            count += 1;
            match running.as_mut().poll(context) {
                Poll::Ready(output) => return Poll::Ready(Some(output)),
                Poll::Pending if count < times => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        future = None;
        Poll::Ready(None)
    })
    .await
}

impl Inside {
    async fn open(plan: Plan) -> Self {
        let house = plan.build();
        let file = house.path("narrowgate.toml");
        let config = config::load(&file).unwrap();
        let daemon = Daemon::start(config, &file).await.unwrap();
        Self { daemon, file, house }
    }

    fn corridor(&self) -> &Arc<Corridor> {
        self.daemon.corridor()
    }

    /// A corridor that has not talked to any server yet: what is discovered is discovered anew.
    fn fresh(&self) -> Corridor {
        let Corridor { config, policies, transactions, grants, recorder, clock, entropy, work, .. } =
            &**self.corridor();
        let servers = AuthorizationServers::new(
            config,
            &self.file,
            (Arc::clone(clock), Arc::clone(entropy)),
            recorder.clone(),
            Arc::clone(work),
        );
        Corridor {
            config: Arc::clone(config),
            policies: Arc::clone(policies),
            transactions: Arc::clone(transactions),
            servers: servers.unwrap(),
            resources: Arc::clone(&self.corridor().resources),
            bundles: None,
            approvals: Arc::clone(&self.corridor().approvals),
            grants: Arc::clone(grants),
            recorder: recorder.clone(),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            work: Arc::clone(work),
        }
    }

    fn caller(&self) -> Caller {
        let (now, corridor) = (self.corridor().clock.wall(), self.corridor());
        let svid = Svid {
            spiffe_id: COURIER.to_owned(),
            trust_domain: "acme.test".to_owned(),
            not_before: now,
            not_after: now.plus(Duration::from_secs(3600)),
            thumbprint: String::new(),
        };
        let peer = Peer::Mtls { svid, ip: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        Caller::attest(&peer, &corridor.policies.estate().registry, now).ok().unwrap()
    }

    async fn login(&self) -> Login {
        let begun = good(self.corridor().begin(self.caller(), begin_input("customers.read")).await);
        let came = self.house.server.approve(&begun.url);
        Login { transaction: begun.transaction.text(transaction::HANDLE_PREFIX), came, id: Uuid::new_v4() }
    }

    async fn redeem(&self, login: &Login) -> Result<Recorded<Reply>, Fault> {
        self.redeem_as(login, &login.came.state).await
    }

    async fn redeem_as(&self, login: &Login, state: &str) -> Result<Recorded<Reply>, Fault> {
        let came = &login.came;
        let input = RedeemInput {
            transaction: login.transaction.clone(),
            callback: Callback::from_fields(came.code.clone(), state.to_owned(), came.iss.clone()).ok().unwrap(),
            request_id: Some(login.id),
            redirect_uri: None,
            required: None,
            claimed: Claimed::default(),
            code_verifier: None,
            proof: None,
            received: self.corridor().clock.boot(),
        };
        self.corridor().redeem(self.caller(), input).await
    }

    async fn get(&self, grant: Handle) -> Result<Recorded<Reply>, Fault> {
        let wanted = Wanted { scopes: None, resource: None, min_ttl: Duration::ZERO, by: By::Get };
        let until = self.corridor().clock.boot().plus(Duration::from_secs(20));
        let input = TokenInput { grant, wanted, claimed: Claimed::default(), until };
        self.corridor().token(self.caller(), input).await
    }

    /// Nothing is under way any more.
    async fn settled(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.corridor().work.idle()).await.unwrap();
    }

    /// A redemption that was dropped at some point: either nothing was spent, or its token is there for who asks.
    async fn assert_safe(&self, login: &Login, posts: usize, point: &str) -> bool {
        self.settled().await;
        let spent = self.house.server.token_posts() - posts;
        let reply = self.redeem(login).await;
        let reply = reply.unwrap_or_else(|fault| panic!("{point}: {}", fault.reason.name()));
        assert_eq!(reply.get().is_recovered(), spent == 1, "{point}");
        assert_eq!(self.house.server.token_posts() - posts, 1, "{point}");
        self.settled().await;
        spent == 1
    }

    /// The books at the end: every token issued is on record and held or revoked, and no exchange is open.
    async fn close(self, points: &[(&str, usize)]) {
        self.settled().await;
        let posts = self.house.server.token_posts();
        assert_eq!(self.house.server.issues().len(), posts);
        self.daemon.stop().await;
        let folder = self.house.path("audit");
        let (books, references) = (Ledger::closed(&folder), References::of(&folder));
        for issue in self.house.server.issues() {
            let access = references.access_token(&issue.access);
            assert!(books.issued.contains_key(&access), "a token off the record");
        }
        for (rpc, number) in points {
            eprintln!("cancel points of {rpc}: {number}");
        }
    }
}

/// What it came to; a refusal is told by its name.
fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| panic!("{}", fault.reason.name()))
}

fn begin_input(scope: &str) -> BeginInput {
    BeginInput {
        client: "sales-crm".to_owned(),
        issuer: String::new(),
        scopes: vec![scope.to_owned()],
        resource: String::new(),
        authorization_details: String::new(),
        redirect_uri: "http://127.0.0.1:50123/callback".to_owned(),
        allow_partial: false,
        claimed: Claimed::default(),
        proof: None,
        login: LoginDemand::default(),
        approval: None,
    }
}

fn roomy() -> Plan {
    crate::plan().config("[limits]", "[limits]\ntransactions_per_agent = 1000\ngrants_per_agent = 1000")
}

/// Walks from no poll at all to the one that completes; the number of points at which it was dropped.
async fn walk(mut once: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..10_000 {
        if once(polls).await {
            return polls;
        }
    }
    panic!("it never completes")
}

// rows: GRPC-05 (attack 28)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_begin() {
    let inside = Inside::open(roomy()).await;
    let (transactions, events) =
        (&inside.corridor().transactions, || inside.house.events("authorization.decided").len());
    let discovering = walk(async |polls| {
        let (open, before) = (transactions.sizes().0, events());
        let corridor = inside.fresh();
        let call = corridor.begin(inside.caller(), begin_input("customers.read"));
        let done = polled(polls, call).await.map(good).is_some();
        inside.settled().await;
        assert_eq!(transactions.sizes().0 - open, usize::from(done), "a transaction that nobody knows of");
        assert!(events() - before <= 1, "one call, one decision");
        done
    })
    .await;
    let denied = walk(async |polls| {
        let call = inside.corridor().begin(inside.caller(), begin_input("customers.delete"));
        let Some(answer) = polled(polls, call).await else { return false };
        assert_eq!(answer.err().unwrap().reason, Reason::PolicyDenied);
        true
    })
    .await;
    // The dropped ones left nothing locked: discovery goes on for others.
    inside.login().await;
    inside.close(&[("BeginAuthorization, with discovery", discovering), ("BeginAuthorization, denied", denied)]).await;
}

// rows: GRPC-05 JOSE-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_fetch_of_keys() {
    let inside = Inside::open(roomy()).await;
    let (corridor, server) = (inside.corridor(), &inside.house.server);
    let asked = BeginInput { scopes: vec!["customers.read".to_owned(), "openid".to_owned()], ..begin_input("") };
    let begun = good(corridor.begin(inside.caller(), asked).await);
    let came = server.approve(&begun.url);
    let presented = Presented {
        transaction: &begun.transaction.text(transaction::HANDLE_PREFIX),
        callback: Callback::from_fields(came.code, came.state, came.iss).ok().unwrap(),
        request_id: None,
        redirect_uri: None,
        required: None,
        code_verifier: None,
        received: corridor.clock.boot(),
    };
    let Ok(Settled::Claimed(claim)) = corridor.transactions.settle(inside.caller(), presented) else {
        panic!("settled")
    };
    let (begun, agent) = (Arc::clone(claim.begun()), claim.caller().agent().id.clone());
    let passage = async || good(corridor.servers.enter(&begun.opening.issuer.alias, &agent).await);
    server.behave(Script::Jwks(Behaviour::Delay { ms: 500, then: Box::new(Behaviour::Honest) }));
    let mut hung_up = Box::pin(corridor.servers.connect(&begun, passage().await));
    while server.jwks_requests() == 0 {
        let waiting = tokio::time::timeout(Duration::from_millis(5), hung_up.as_mut()).await;
        assert!(waiting.is_err(), "it connected without keys");
    }
    drop(hung_up);
    // The fetch goes on, and whoever comes next waits for it, or has what it brought.
    let passage = passage().await;
    good(corridor.servers.connect(&begun, passage).await.map(drop));
    assert_eq!(server.jwks_requests(), 1);
    drop(claim);
    inside.close(&[]).await;
}

// rows: GRPC-05 CODE-06 (attack 28)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_redeem() {
    let inside = Inside::open(roomy()).await;
    let fresh = walk(async |polls| {
        let (login, posts) = (inside.login().await, inside.house.server.token_posts());
        let done = polled(polls, inside.redeem(&login)).await.map(good).is_some();
        inside.assert_safe(&login, posts, &format!("redeem, {polls} polls")).await;
        done
    })
    .await;
    let repeated = walk(async |polls| {
        let (login, posts) = (inside.login().await, inside.house.server.token_posts());
        good(inside.redeem(&login).await);
        let done = polled(polls, inside.redeem(&login)).await.map(good).is_some();
        assert!(inside.assert_safe(&login, posts, &format!("repeat, {polls} polls")).await);
        done
    })
    .await;
    let waiting = walk(async |polls| {
        let (login, posts) = (inside.login().await, inside.house.server.token_posts());
        inside.house.server.set_pause(true);
        let mut first = pin!(inside.redeem(&login));
        assert!(polled(1, first.as_mut()).await.is_none());
        let repeat = async {
            let done = polled(polls, inside.redeem(&login)).await.map(good).is_some();
            inside.house.server.set_pause(false);
            done
        };
        let let_go = async {
            while inside.house.server.token_posts() == posts {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            inside.house.server.set_pause(false);
        };
        let (done, first, ()) = tokio::join!(repeat, first, let_go);
        good(first);
        assert!(inside.assert_safe(&login, posts, &format!("repeat in flight, {polls} polls")).await);
        done
    })
    .await;
    let refused = walk(async |polls| {
        let (login, posts) = (inside.login().await, inside.house.server.token_posts());
        let answer = polled(polls, inside.redeem_as(&login, "wrong-state-0123456789abcdef")).await;
        assert!(!inside.assert_safe(&login, posts, &format!("refused, {polls} polls")).await);
        answer.is_some_and(|answer| answer.err().unwrap().reason == Reason::StateMismatch)
    })
    .await;
    let points = [
        ("RedeemCode", fresh),
        ("RedeemCode, repeated", repeated),
        ("RedeemCode, repeated in flight", waiting),
        ("RedeemCode, refused", refused),
    ];
    inside.close(&points).await;
}

// rows: GRPC-05 (attack 28)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_get_and_revoke() {
    let inside = Inside::open(roomy()).await;
    let login = inside.login().await;
    let grant = good(inside.redeem(&login).await).get().grant().handle;
    let got = walk(async |polls| polled(polls, inside.get(grant)).await.map(good).is_some()).await;
    let nothing = Handle::new([7; 16]);
    let unknown = walk(async |polls| {
        let Some(answer) = polled(polls, inside.get(nothing)).await else { return false };
        assert_eq!(answer.err().unwrap().reason, Reason::GrantUnknown);
        true
    })
    .await;
    let revoked = walk(async |polls| {
        let login = inside.login().await;
        let grant = good(inside.redeem(&login).await).get().grant().handle;
        let (posts, said) = (inside.house.server.revocation_posts(), inside.house.events("token.revoked").len());
        let done = polled(polls, inside.corridor().revoke(inside.caller(), grant)).await;
        let done = done.map(good).is_some();
        inside.settled().await;
        // Never polled, it never began; begun, it is done to the end.
        let expected = if polls == 0 { 0 } else { 2 };
        assert_eq!(inside.house.server.revocation_posts() - posts, expected, "{polls} polls");
        assert_eq!(inside.get(grant).await.is_ok(), polls == 0, "{polls} polls");
        crate::house::eventually("both on record", || {
            (inside.house.events("token.revoked").len() - said == expected).then_some(())
        })
        .await;
        done
    })
    .await;
    inside.close(&[("GetToken", got), ("GetToken, unknown", unknown), ("RevokeGrant", revoked)]).await;
}

/// Turns of the executor that a redemption takes, and moments spread over them.
const MOMENTS: usize = 60;

// rows: GRPC-05 (the part of a redemption that goes on without its caller)
#[test]
fn of_what_goes_on_without_the_caller() {
    // One thread, and the driver asked at each turn: a turn is at most one step of the redemption.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build().unwrap();
    runtime.block_on(async {
        let inside = Inside::open(roomy()).await;
        let login = inside.login().await;
        let mut turns = 0;
        let mut call = Box::pin(inside.redeem(&login));
        while polled(1, call.as_mut()).await.is_none() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        drop(call);
        let (mut before, mut after) = (0, 0);
        for moment in 0..=MOMENTS {
            let (login, posts) = (inside.login().await, inside.house.server.token_posts());
            let mut call = Box::pin(inside.redeem(&login));
            // The first poll begins it; then it is left alone for so many turns.
            let _ = polled(1, call.as_mut()).await;
            for _ in 0..turns * moment / MOMENTS {
                tokio::task::yield_now().await;
            }
            drop(call);
            let spent = inside.assert_safe(&login, posts, &format!("moment {moment}")).await;
            *(if spent { &mut after } else { &mut before }) += 1;
        }
        assert!(before > 0, "hung up at once, nothing was spent");
        eprintln!("hang-ups while the rest goes on: {before} before the POST, {after} after, over {turns} turns");
        inside.close(&[]).await;
    });
}
