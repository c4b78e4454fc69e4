use narrowgate::{model::Terms, oauth::Turn, policy::{RefreshPermitted, Verdict}};

pub fn forge(subject: Turn, verdict: Verdict, terms: Terms) -> RefreshPermitted<Turn> {
    RefreshPermitted { subject, verdict, terms }
}
