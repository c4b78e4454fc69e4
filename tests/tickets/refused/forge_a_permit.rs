use narrowgate::{model::Terms, policy::{Permitted, Verdict}, transaction::Claim};

pub fn forge(claim: Claim, verdict: Verdict, terms: Terms) -> Permitted {
    Permitted { claim, verdict, terms }
}
