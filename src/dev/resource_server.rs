//! The APIs that the development authorization server's tokens are for: one listener that judges what it is shown as a
//! resource server must, and answers with what the token is good for.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};

use super::oauth_authorize::not_allowed;
use super::oauth_http::{Call, Reply, Site, json};
use super::oauth_jwt::{Claims, s256};
use super::oauth_state::{State, now_secs};

/// The listener for agents.
pub(super) struct Api(pub(super) Arc<State>);

impl Site for Api {
    fn connected(&self) {}

    fn answer(&self, call: &Call) -> Reply {
        if call.method != Method::GET {
            return not_allowed(&Method::GET);
        }
        match judge(&self.0, call) {
            Ok(claims) => json(
                StatusCode::OK,
                &serde_json::json!({ "you_may": claims.scope, "at": claims.aud, "for": claims.sub }),
            ),
            Err(refused) => refused.to_reply(),
        }
    }
}

/// Why a request is not served (RFC 6750 §3.1, RFC 9449 §7.1).
struct Unserved {
    scheme: &'static str,
    error: &'static str,
    why: &'static str,
}

impl Unserved {
    const fn token(scheme: &'static str, why: &'static str) -> Unserved {
        Unserved { scheme, error: "invalid_token", why }
    }

    fn to_reply(&self) -> Reply {
        let Unserved { scheme, error, why } = self;
        let mut reply =
            json(StatusCode::UNAUTHORIZED, &serde_json::json!({ "error": error, "error_description": why }));
        if let Ok(challenge) = HeaderValue::try_from(format!(r#"{scheme} error="{error}""#)) {
            reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

/// The token of a request, if it holds, and its bearer is who it is bound to (RFC 9449 §7.1).
fn judge(state: &State, call: &Call) -> Result<Claims, Unserved> {
    let header = call.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let (scheme, token) = header
        .and_then(|header| header.split_once(' '))
        .ok_or_else(|| Unserved::token("Bearer", "there is no access token"))?;
    let claims = |scheme| state.judge(token).ok_or_else(|| Unserved::token(scheme, "the token does not hold"));
    if scheme.eq_ignore_ascii_case("Bearer") {
        let claims = claims("Bearer")?;
        // RFC 9449 §7.2: not to be taken for less than it is.
        if claims.cnf.is_some() {
            return Err(Unserved::token("DPoP", "the token is bound to a key: send a proof"));
        }
        return Ok(claims);
    }
    if !scheme.eq_ignore_ascii_case("DPoP") {
        return Err(Unserved::token("Bearer", "the scheme is neither Bearer nor DPoP"));
    }
    let claims = claims("DPoP")?;
    let unproven = |why| Unserved { scheme: "DPoP", error: "invalid_dpop_proof", why };
    let url = format!("{}{}", state.api_base, call.path);
    let proof = state.seen.judge(&call.headers, ("GET", &url), now_secs()).map_err(unproven)?;
    if proof.ath != Some(s256(token)) {
        return Err(unproven("the proof is for another token"));
    }
    if claims.cnf.as_ref().is_none_or(|cnf| cnf.jkt != proof.jkt) {
        return Err(Unserved::token("DPoP", "the token is bound to another key"));
    }
    Ok(claims)
}
