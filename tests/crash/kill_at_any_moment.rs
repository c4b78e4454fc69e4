//! kill -9 at random moments under load, round after round on one folder; then every POST, every token and every
//! exchange is accounted for. `NARROWGATE_KILL_ROUNDS` sets the rounds (20), `NARROWGATE_KILL_SEED` repeats a run.

use crate::{
    house::{
        Agent, House, begin_request, eventually, get, reason, redeem_request,
        scripted_as::{
            Callback, ScriptedAs,
            behaviour::{Behaviour, Script},
        },
        unix_agent,
    },
    ledger::{Ledger, References},
    plan,
};
use narrowgate::api::proto::{RedeemCodeRequest, RedeemCodeResponse, RevokeGrantRequest};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};
use tonic::Status;
use tonic_types::StatusExt;

/// A small generator: a seed that is printed repeats the choices, not the timing.
struct Dice(Cell<u64>);

impl Dice {
    /// A number below this.
    fn below(&self, limit: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 11) % limit
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the agents saw.
#[derive(Default)]
struct Seen {
    tokens: RefCell<BTreeSet<String>>,
    /// Codes that were never answered, with their transaction: void after a restart.
    held: RefCell<Vec<(String, Callback)>>,
    /// Codes that were held back: they must never have been sent.
    never_sent: RefCell<BTreeSet<String>>,
    calls: Cell<usize>,
    hang_ups: Cell<usize>,
    recovered: Cell<usize>,
    /// Starts that were killed before they served.
    crash_loops: Cell<usize>,
    refused: RefCell<BTreeMap<String, usize>>,
}

/// The daemon is gone, or a status came back.
enum No {
    Gone,
    Refused(String),
}

fn no(status: &Status) -> No {
    if status.get_details_error_info().is_none() { No::Gone } else { No::Refused(reason(status)) }
}

struct Round<'a> {
    server: &'a ScriptedAs,
    dice: &'a Dice,
    seen: &'a Seen,
}

impl Round<'_> {
    fn keep(&self, answer: &RedeemCodeResponse) {
        if answer.recovered {
            self.seen.recovered.set(self.seen.recovered.get() + 1);
        }
        self.seen.tokens.borrow_mut().insert(answer.token.clone().unwrap().access_token);
    }

    /// Logs in again and again until the daemon is gone.
    async fn agent(&self, socket: &Path) {
        let mut agent = unix_agent(socket).await;
        loop {
            match self.login(&mut agent).await {
                Ok(()) => {}
                Err(No::Gone) => return,
                Err(No::Refused(why)) => *self.seen.refused.borrow_mut().entry(why).or_default() += 1,
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(8))).await;
        }
    }

    async fn login(&self, agent: &mut Agent) -> Result<(), No> {
        let begun = agent.begin_authorization(begin_request(&["customers.read"])).await.map_err(|s| no(&s))?;
        self.seen.calls.set(self.seen.calls.get() + 1);
        let begun = begun.into_inner();
        let callback = self.server.approve(&begun.authorization_url);
        if self.dice.chance(10) {
            // The person is slow: this code is for after the crash.
            self.seen.never_sent.borrow_mut().insert(callback.code.clone());
            self.seen.held.borrow_mut().push((begun.transaction, callback));
            return Ok(());
        }
        self.server.behave(Script::Token(match self.dice.below(10) {
            0 => Behaviour::Broader("admin".to_owned()),
            1..=3 => Behaviour::Honest,
            _ => Behaviour::Delay { ms: self.dice.below(25), then: Box::new(Behaviour::Honest) },
        }));
        let request = RedeemCodeRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            ..redeem_request(&begun.transaction, &callback.url)
        };
        let redeemed = self.redeem(agent, &request).await;
        let grant = match redeemed {
            Err(No::Gone) => {
                self.seen.held.borrow_mut().push((begun.transaction, callback));
                return Err(No::Gone);
            }
            Err(refused) => return Err(refused),
            Ok(answer) => answer.grant,
        };
        if self.dice.chance(50) {
            let again = get(agent, &grant).await.map_err(|s| no(&s))?;
            self.seen.tokens.borrow_mut().insert(again.token.unwrap().access_token);
        }
        if self.dice.chance(30) {
            let request = RevokeGrantRequest { grant, ..RevokeGrantRequest::default() };
            agent.revoke_grant(request).await.map_err(|s| no(&s))?;
        }
        Ok(())
    }

    /// Redeems; now and then hangs up at any moment, and asks for the reply again.
    async fn redeem(&self, agent: &mut Agent, request: &RedeemCodeRequest) -> Result<RedeemCodeResponse, No> {
        for patience in [self.dice.below(40), 10_000] {
            let call = agent.redeem_code(request.clone());
            let patience = Duration::from_millis(if self.dice.chance(30) { patience } else { 10_000 });
            match tokio::time::timeout(patience, call).await {
                Err(_) => self.seen.hang_ups.set(self.seen.hang_ups.get() + 1),
                Ok(Err(status)) => return Err(no(&status)),
                Ok(Ok(answer)) => {
                    self.keep(answer.get_ref());
                    return Ok(answer.into_inner());
                }
            }
        }
        Err(No::Refused("HUNG_UP_TWICE".to_owned()))
    }

    /// What a run before this one left is of no use any more, and no code of it is sent (TIME-05).
    async fn present_what_was_held(&self, agent: &mut Agent) {
        let held = std::mem::take(&mut *self.seen.held.borrow_mut());
        let posts = self.server.token_posts();
        for (transaction, callback) in held {
            let status = agent.redeem_code(redeem_request(&transaction, &callback.url)).await.err().unwrap();
            assert_eq!(reason(&status), "TXN_UNKNOWN");
        }
        assert_eq!(self.server.token_posts(), posts, "a code from before the restart was sent");
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Starts the daemon and waits until it answers.
async fn start(house: &mut House) {
    house.start();
    let socket = house.path("run/agent.sock");
    for _ in 0..2000 {
        if tokio::net::UnixStream::connect(&socket).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the daemon does not start\n{}", house.log());
}

/// Starts that are killed while they start: what they did not put on record any more is left to the next.
async fn crash_loop(house: &mut House, dice: &Dice, crashes: &Cell<usize>) {
    while dice.chance(60) {
        let before = log_bytes(house);
        house.start();
        let (began, wait) = (Instant::now(), Duration::from_micros(dice.below(2_000)));
        // As soon as something was written, which is when there is more to come.
        while log_bytes(house) == before && began.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        tokio::time::sleep(wait).await;
        house.signal(Signal::KILL).await;
        crashes.set(crashes.get() + 1);
    }
}

fn log_bytes(house: &House) -> u64 {
    fs::read_dir(house.path("audit")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

async fn round(house: &mut House, dice: &Dice, seen: &Seen, books: &mut Ledger) {
    crash_loop(house, dice, &seen.crash_loops).await;
    start(house).await;
    let pid = Pid::from_raw(i32::try_from(house.pid()).unwrap()).unwrap();
    let socket = house.path("run/agent.sock");
    let round = Round { server: &house.server, dice, seen };
    round.present_what_was_held(&mut unix_agent(&socket).await).await;
    let life = Duration::from_micros(dice.below(300_000));
    // Its life begins with the first answer: what happens before is the crash loop's.
    let (calls, began) = (seen.calls.get(), Instant::now());
    let killer = async {
        while seen.calls.get() == calls && began.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(life).await;
        kill_process(pid, Signal::KILL).unwrap();
    };
    tokio::join!(killer, round.agent(&socket), round.agent(&socket), round.agent(&socket), round.agent(&socket));
    house.signal(Signal::KILL).await;
    books.read();
    books.assert_sound();
}

/// Where every token that was ever issued has gone.
#[derive(Default, Debug)]
struct Tokens {
    received: usize,
    revoked: usize,
    /// Its exchange was closed as unknown at the next start.
    unknown: usize,
    /// Its issue was durable, and the crash came before its reply.
    reply_lost: usize,
    /// It was refused on record, and the crash came before its revocation.
    refused: usize,
}

fn settle_accounts(house: &House, seen: &Seen, books: &mut Ledger) -> Tokens {
    let references = References::of(&house.path("audit"));
    let mut posted: BTreeMap<String, usize> = BTreeMap::new();
    for post in house.server.token_requests() {
        let code = post.param("code").unwrap();
        *posted.entry(code.to_owned()).or_default() += 1;
        let arrived = i64::try_from(post.arrived.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        match books.exchange_of(&references.code(code)) {
            None => books.violations.push("a POST without a decision on record".to_owned()),
            Some(exchange) if exchange.decided > arrived => {
                books.violations.push(format!("a POST {} ms before its decision", exchange.decided - arrived));
            }
            Some(_) => {}
        }
    }
    if posted.values().any(|times| *times > 1) {
        books.violations.push("a code was sent twice".to_owned());
    }
    if seen.never_sent.borrow().iter().any(|code| posted.contains_key(code)) {
        books.violations.push("a code that was never presented before the restart was sent".to_owned());
    }
    let (received, revocations) = (seen.tokens.borrow(), house.server.revocations());
    let revoked: BTreeSet<&str> = revocations.iter().map(|(_, token)| token.as_str()).collect();
    for token in received.iter().filter(|token| !books.issued.contains_key(&references.access_token(token))) {
        books.violations.push(format!("a client has a token without record: {}", references.access_token(token)));
    }
    let mut tokens = Tokens::default();
    for issue in house.server.issues() {
        let (exchange, code_ref) = (books.exchange_of(&references.code(&issue.code)), references.code(&issue.code));
        let closed = exchange.and_then(|exchange| exchange.closed.as_deref());
        let on_record = books.issued.contains_key(&references.access_token(&issue.access));
        match closed {
            _ if received.contains(&issue.access) => tokens.received += 1,
            _ if revoked.contains(issue.access.as_str()) => tokens.revoked += 1,
            Some("exchange.unknown") => tokens.unknown += 1,
            Some("token.issued") if on_record => tokens.reply_lost += 1,
            Some("exchange.failed") => tokens.refused += 1,
            _ => books.violations.push(format!("a token of {code_ref} is nowhere: {closed:?}")),
        }
    }
    tokens
}

// rows: AUD-02 AUD-03 TIME-05 CODE-06 GRPC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_off_the_record() {
    let rounds = number("NARROWGATE_KILL_ROUNDS").unwrap_or(20);
    let clock = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("NARROWGATE_KILL_SEED").unwrap_or(u64::from(clock.subsec_nanos())) | 1;
    let dice = Dice(Cell::new(seed));
    let mut plan = plan().config("[limits]", "[limits]\ntransactions_per_agent = 1000");
    // Hundreds of runs at trace would be a log of gigabytes.
    plan.log = "warn".to_owned();
    let mut house = plan.build();
    fs::create_dir_all(house.path("audit")).unwrap();
    let (seen, mut books, began) = (Seen::default(), Ledger::of(&house.path("audit")), Instant::now());
    for _ in 0..rounds {
        round(&mut house, &dice, &seen, &mut books).await;
    }
    start(&mut house).await;
    let mut agent = house.agent().await;
    Round { server: &house.server, dice: &dice, seen: &seen }.present_what_was_held(&mut agent).await;
    eventually("the last start's record", || {
        books.read();
        books.open.is_empty().then_some(())
    })
    .await;
    assert_eq!(house.stop().await, Some(0));
    books.read();
    let tokens = settle_accounts(&house, &seen, &mut books);
    let refused = seen.refused.borrow();
    eprintln!(
        "kill -9: {rounds} rounds in {:.1} s (seed {seed}), {} starts killed: {} logins, {} hang-ups, {} replies recovered, {} POSTs, {} \
         exchanges decided, {} closed as unknown, {} tokens issued: {tokens:?}; {} audit lines, {} torn; \
         refused {refused:?}; {} violations",
        began.elapsed().as_secs_f64(),
        seen.crash_loops.get(),
        seen.calls.get(),
        seen.hang_ups.get(),
        seen.recovered.get(),
        house.server.token_posts(),
        books.exchanges.len(),
        books.unknown(),
        house.server.issues().len(),
        books.lines,
        books.torn,
        books.violations.len(),
    );
    books.assert_sound();
    assert!(books.open.is_empty() && books.stops == 1);
    assert!(tokens.received > 0, "the load went nowhere");
    let expected = ["SCOPE_UPGRADED", "HUNG_UP_TWICE", "CODE_ALREADY_USED", "DEADLINE_EXCEEDED", "TXN_BUSY"];
    assert!(refused.keys().all(|why| expected.contains(&why.as_str())), "{refused:?}");
}
