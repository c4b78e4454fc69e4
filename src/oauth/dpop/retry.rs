//! A token request with its proof, and the one case in which it is sent again.
//!
//! A code is sent once (`exchange`'s invariant), for whoever sees it a second time may have stolen it, and a server may
//! then end all that came of it. One answer is no use of the code: 400 `use_dpop_nonce` (RFC 9449 §8). The server has
//! looked at the proof, found its own nonce missing or old in it, and asks for the same request with another proof. It
//! cannot have issued anything, since nothing could be bound to a proof that it refused; and without a second request no
//! client could ever learn its first nonce. So exactly then the same request goes once more, over the same connection
//! where it still stands, to the same endpoint, inside the same recorded permit and deadline, with a new proof. It must
//! be that answer and no other: status 400, sound JSON, no token in it, one well-formed nonce in its header. A server
//! that asks again is not asked a third time (`DPOP_NONCE_LOOP`), and the transaction is over whatever happens. A server
//! that did use the code up says `invalid_grant` the second time, which costs this login and opens nothing.

use super::{
    nonces::given,
    proof::{Proven, prove, target},
};
use crate::{
    model::{DpopProof, Fault},
    oauth::{
        AuthorizationServers,
        answer::ANSWER_BYTES_MAX,
        client_authentication::Authenticated,
        http::{self, Answer, Broken, Line},
        strict_json,
    },
    transaction::Begun,
};
use serde_json::Value;
use zeroize::Zeroizing;

/// Whether the server wants the same request again, with a nonce of its own in the proof.
pub(in crate::oauth) fn is_challenge(answer: &Answer) -> bool {
    if answer.status != 400 || !answer.is_json() {
        return false;
    }
    let Some(body) = strict_json::parse(&answer.body) else { return false };
    let holds_token = ["access_token", "refresh_token"].iter().any(|name| body.get(name).is_some());
    !holds_token && body.get("error").and_then(Value::as_str) == Some("use_dpop_nonce")
}

impl AuthorizationServers {
    /// The proof for a token request of this transaction; `None` where its tokens are bound to no key.
    ///
    /// # Errors
    /// As [`prove`].
    pub(in crate::oauth) fn token_proof(&self, begun: &Begun) -> Result<Option<DpopProof>, Fault> {
        let Some(bound) = &begun.bound_key else { return Ok(None) };
        let nonce = self.ways(&begun.opening.issuer.alias)?.nonce.latest();
        let target = target(&begun.opening.endpoints.token)?;
        let request = Proven { method: "POST", target: &target, nonce: nonce.as_ref(), token: None };
        prove(bound, &request, &*self.clock, &*self.entropy).map(Some)
    }

    /// Sends a token request, and sends it again where its answer is a challenge.
    pub(in crate::oauth) async fn post_proven(
        &self,
        mut line: Line,
        (form, first): (&Zeroizing<String>, Authenticated),
        proof: Option<DpopProof>,
        begun: &Begun,
        came: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Answer, Broken> {
        let Some(proof) = proof else {
            return http::post_with(&mut line, first, None, ANSWER_BYTES_MAX, came).await;
        };
        let answer = self.sent(&mut line, first, &proof, begun, came).await?;
        // An agent's own proof cannot be made anew here: the agent learns of the nonce, and begins again.
        let may_prove_again = begun.bound_key.as_ref().is_some_and(|bound| !bound.is_agents());
        if !may_prove_again || !is_challenge(&answer) || !matches!(given(&answer.headers), Ok(Some(_))) {
            return Ok(answer);
        }
        let opening = &begun.opening;
        tracing::debug!(issuer = %opening.issuer.alias, "the token endpoint wants its nonce in the proof");
        if !line.stands().await {
            let again = self.line(&opening.client, &opening.endpoints.token, opening.issuer.deadline).await;
            line = again.map_err(|_| Broken::Connection)?;
        }
        // Without entropy, which was there a moment ago, the first request is all there was.
        let proof = self.token_proof(begun).ok().flatten().ok_or(Broken::Connection)?;
        // An assertion is for one request, so the second has its own (RFC 7523 §3).
        let again = self.authenticated(&begun.opening, form).map_err(|_| Broken::Connection)?;
        self.sent(&mut line, again, &proof, begun, came).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the wire")]
    async fn sent(
        &self,
        line: &mut Line,
        request: Authenticated,
        proof: &DpopProof,
        begun: &Begun,
        came: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Answer, Broken> {
        let answer = http::post_with(line, request, Some(proof.reveal()), ANSWER_BYTES_MAX, came).await?;
        if let (Ok(Some(nonce)), Ok(ways)) = (given(&answer.headers), self.ways(&begun.opening.issuer.alias)) {
            ways.nonce.replace(nonce);
        }
        Ok(answer)
    }
}
