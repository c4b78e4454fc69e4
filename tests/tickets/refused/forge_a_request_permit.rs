use narrowgate::{model::Terms, oauth::TokenRequest, policy::{RequestPermitted, Verdict}};

pub fn forge(request: TokenRequest, verdict: Verdict, terms: Terms) -> RequestPermitted<TokenRequest> {
    RequestPermitted { request, verdict, terms }
}
