use narrowgate::{
    audit::Recorded, caller::Caller, oauth::{Issued, Refreshed, Turn}, policy::{BeginPermitted, Permitted, RefreshPermitted, Released}, transaction::{Claim, Spent},
};

pub fn multiply(caller: Caller, claim: Claim, spent: Spent, begin: BeginPermitted, permitted: Permitted) {
    let _ = caller.clone();
    let _ = claim.clone();
    let _ = spent.clone();
    let _ = begin.clone();
    let _ = permitted.clone();
}

pub fn multiply_further(recorded: Recorded<Permitted>, issued: Issued, released: Released<Issued>) {
    let _ = recorded.clone();
    let _ = issued.clone();
    let _ = released.clone();
}

pub fn multiply_refreshes(turn: Turn, permitted: RefreshPermitted<Turn>, refreshed: Refreshed) {
    let _ = turn.clone();
    let _ = permitted.clone();
    let _ = refreshed.clone();
}
