use crate::house::{
    Agent, Plan, reason,
    scripted_as::behaviour::{Behaviour, Script},
};
use narrowgate::{
    api::proto::GetTokenRequest,
    platform::{Clock, SystemClock},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const SCOPES: [&str; 2] = ["customers.read", "customers.write"];
/// Logins at once: a storm is about refreshing.
const LOGINS: usize = 32;
/// Calls for each grant at once: they must share one POST.
const CALLS: usize = 2;
/// The server answers at once what it answers; the machine may not.
const DEADLINE: Duration = Duration::from_secs(30);

/// Agents, and grants of each: `NARROWGATE_STORM=1000x10` for the whole of it, which takes some minutes.
fn size() -> (usize, usize) {
    let text = std::env::var("NARROWGATE_STORM").unwrap_or_else(|_| "20x5".to_owned());
    let (agents, grants) = text.split_once('x').expect("NARROWGATE_STORM is AGENTSxGRANTS");
    (agents.parse().unwrap(), grants.parse().unwrap())
}

fn spiffe_id(n: usize) -> String {
    format!("spiffe://acme.test/agent/storm-{n}")
}

fn plan(agents: usize) -> Plan {
    let permit = "@id(\"storm\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource);";
    let plan = Plan::new().policy(permit).config("call_deadline = \"20s\"", "call_deadline = \"120s\"");
    let mut plan = plan.config("deadline = \"5s\"", &format!("deadline = \"{}s\"", DEADLINE.as_secs()));
    // At TRACE a thousand agents fill the log, not the lane.
    plan.log = "info".to_owned();
    for n in 0..agents {
        let id = spiffe_id(n);
        let rest = "owner = \"sales\"\nenvironment = \"prod\"\ntrust = 3\n";
        plan.agents.push_str(&format!("\n[[agent]]\nid = \"storm-{n}\"\nspiffe_id = \"{id}\"\n{rest}"));
    }
    plan
}

/// Asks for a narrower token until it comes: whether it does. Every no must say that it passes, and when to come back,
/// but the one that says that a person must log in again.
async fn insist(agent: &mut Agent, grant: &str, noes: &Mutex<BTreeMap<String, usize>>) -> bool {
    let wanted = || GetTokenRequest {
        grant: grant.to_owned(),
        scopes: vec![SCOPES[0].to_owned()],
        ..GetTokenRequest::default()
    };
    loop {
        let Err(status) = agent.get_token(wanted()).await else { return true };
        if reason(&status) == "REAUTH_REQUIRED" {
            return false;
        }
        let wait = passes(&status);
        *noes.lock().unwrap().entry(reason(&status)).or_default() += 1;
        tokio::time::sleep(wait).await;
    }
}

fn passes(status: &Status) -> Duration {
    // Told to wait so often that its time was up: the next one finds what has become of it.
    if status.code() == Code::DeadlineExceeded {
        return Duration::from_millis(100);
    }
    assert!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), "{status:?}");
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_else(|| panic!("{status:?}"))
}

async fn logins(house: &Arc<crate::house::House>, agents: usize, grants: usize) -> Vec<(Agent, Vec<String>)> {
    let (turns, mut all) = (Arc::new(Semaphore::new(LOGINS)), JoinSet::new());
    for n in 0..agents {
        let (house, turns) = (Arc::clone(house), Arc::clone(&turns));
        all.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let mut agent = house.svid_agent(&spiffe_id(n)).await;
            let mut own = Vec::with_capacity(grants);
            for _ in 0..grants {
                own.push(house.login(&mut agent, &SCOPES).await.unwrap().grant);
            }
            (agent, own)
        });
    }
    all.join_all().await
}

// rows: RT-03 TOK-15 (CI runs 20 agents with 5 grants each; NARROWGATE_STORM says how many)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_grant_has_its_token_in_the_end_and_never_two_posts_at_once() {
    let (agents, grants) = size();
    let house = Arc::new(plan(agents).open().await);
    let begun = SystemClock.boot();
    let all = logins(&house, agents, grants).await;
    let since = |begun| SystemClock.boot().since(begun);
    let logged_in = since(begun);
    let later = ("Retry-After".to_owned(), "1".to_owned());
    let busy = Behaviour::Raw { status: 503, headers: vec![later], body: Vec::new() };
    house.server.always(Script::Token(Behaviour::Delay { ms: 20, then: Box::new(busy) }));
    let (noes, mut calls, begun) = (Arc::new(Mutex::default()), JoinSet::new(), SystemClock.boot());
    for (agent, own) in &all {
        for grant in own.iter().flat_map(|grant| std::iter::repeat_n(grant, CALLS)) {
            let (mut agent, grant, noes) = (agent.clone(), grant.clone(), Arc::clone(&noes));
            calls.spawn(async move { (insist(&mut agent, &grant, &noes).await, grant) });
        }
    }
    // The storm lasts until every call has been told no once, on average, and for a while.
    let told = || noes.lock().unwrap().values().sum::<usize>();
    while told() < agents * grants * CALLS || since(begun) < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (stormed, refused) = (since(begun), house.server.refreshes().len());
    house.server.always(Script::Token(Behaviour::Delay { ms: 20, then: Box::new(Behaviour::Honest) }));
    let came = calls.join_all().await;
    assert_eq!(came.len(), agents * grants * CALLS);
    let lost: BTreeSet<String> = came.into_iter().filter_map(|(came, grant)| (!came).then_some(grant)).collect();
    let (calmed, posts) = (since(begun) - stormed, house.server.refreshes().len() - refused);
    assert_eq!(house.server.most_refreshes_at_once(), 1);
    // Where this machine is too slow for an answer of its own server, the new refresh token in it is lost, and the old
    // one is used again: there is nothing better to do. A quarter of the deadline is left for each answer at least, and
    // a connection that was over within that has given its answer. No grant is lost in any other way.
    assert_eq!(house.server.families_reused_though_answered_within(DEADLINE / 4), 0);
    assert_eq!(lost.len(), house.server.reused_families());
    // One good POST for each grant, but for those whose answers were told no when the storm had just ended.
    assert!((agents * grants..agents * grants + 64).contains(&posts), "{posts}");
    assert!(refused < agents * grants * 2, "{refused}");
    eprintln!(
        "{agents} agents x {grants} grants: logins {logged_in:.1?}; storm {stormed:.1?} with {refused} POSTs and {:?}; \
        {posts} POSTs and every token {calmed:.1?} later, but {} whose answers this machine lost",
        noes.lock().unwrap(),
        lost.len()
    );
}
