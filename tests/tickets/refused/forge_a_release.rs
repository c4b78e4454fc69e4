use narrowgate::{model::Terms, oauth::Issued, policy::{Released, Verdict}};

pub fn forge(subject: Issued, verdict: Verdict, terms: Terms) -> Released<Issued> {
    Released { subject, verdict, terms }
}
