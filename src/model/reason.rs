//! Why a call failed: the closed list, in the same order as `ErrorReason` in the protocol.

macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal $next:literal),* $(,)?) => {
        /// One reason of the closed list. `errors.proto` documents each.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant),*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire and in the audit log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What happened, for a person.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// What to do next, for a person.
            #[must_use]
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next),* }
            }
        }
    };
}

reasons! {
    PeerCredMissing "PEER_CRED_MISSING" "The kernel or the TLS layer named no peer." "Connect over the Unix socket or with a client certificate.",
    PeerCredentialExpired "PEER_CREDENTIAL_EXPIRED" "The caller's certificate, or one it was issued under, has ended since the connection was made." "Reconnect with a current certificate.",
    PeerChanged "PEER_CHANGED" "The process that made this connection is gone, or is not the registered program." "Connect anew from the agent's own process.",
    AgentUnknown "AGENT_UNKNOWN" "The attested caller is not in the registry." "Register its uid or SPIFFE ID in the agents file.",
    CallerIdentityAsserted "CALLER_IDENTITY_ASSERTED" "The request names an agent that is not the attested caller." "Leave `agent` empty: the transport alone names the caller.",
    RequestRefused "REQUEST_REFUSED" "The connection looks like a browser's, or names another host." "Use a gRPC client, without an Origin header, on the configured address.",
    MethodUnknown "METHOD_UNKNOWN" "There is no such service or method here." "Generate the client from this version's proto files.",
    EncodingUnsupported "ENCODING_UNSUPPORTED" "The message is compressed, which is not supported." "Switch compression off in the client.",
    ServiceUnknown "SERVICE_UNKNOWN" "The health of no such service is known." "Ask for the empty name, or for narrowgate.v1.TokenService.",
    FieldRequired "FIELD_REQUIRED" "A required field is missing." "See the field violations.",
    FieldInvalid "FIELD_INVALID" "A field has a value that cannot be right." "See the field violations.",
    CodeSyntax "CODE_SYNTAX" "The code is not 1*VSCHAR (RFC 6749 App. A.11) of at most 4096 bytes." "Pass the code as it came, decoded once.",
    ScopeSyntax "SCOPE_SYNTAX" "A scope breaks RFC 6749 §3.3, or there are too many." "Send each scope as one list element.",
    ResourceSyntax "RESOURCE_SYNTAX" "The resource is not an absolute URI without fragment (RFC 8707 §2)." "Send the identifier of a declared API.",
    ParamDuplicate "PARAM_DUPLICATE" "A callback parameter appears twice (RFC 6749 §3.1)." "Do not redeem this callback: begin again.",
    ImplicitResponse "IMPLICIT_RESPONSE" "Tokens came through the front channel (RFC 9700 §2.1.2)." "Register the client for the code flow only.",
    ClientUnknown "CLIENT_UNKNOWN" "No client registration has this alias." "Use an alias from the configuration.",
    IssuerUnknown "ISSUER_UNKNOWN" "No issuer has this alias, or the client belongs to another one." "Name issuers by alias, never by URL, or leave the field empty.",
    ResourceUnknown "RESOURCE_UNKNOWN" "No API with this identifier is declared for the issuer." "Declare it in the catalogue.",
    ScopeUndeclared "SCOPE_UNDECLARED" "A scope is not declared in the catalogue for the resource." "Declare it, with its risk, or ask for another.",
    OpenidUnsupported "OPENID_UNSUPPORTED" "The issuer publishes no keys that may be used, so its ID tokens cannot be verified." "Look at the daemon's log for the line to add, or leave `openid` out.",
    RedirectUriMismatch "REDIRECT_URI_MISMATCH" "The redirect URI is not the pinned one, byte for byte." "Use a pinned URI of the client.",
    QuotaExceeded "QUOTA_EXCEEDED" "The agent holds, or asks for, as much as it may." "See `quota`; RetryInfo says when to try again.",
    RequestTooLarge "REQUEST_TOO_LARGE" "The request message is larger than 64 KiB." "Send less.",
    TxnUnknown "TXN_UNKNOWN" "There is no such transaction of this caller: unknown, another's, or ended." "Begin again.",
    TxnTerminal "TXN_TERMINAL" "The transaction has ended." "Begin again: every try needs fresh state, nonce and verifier.",
    TxnBusy "TXN_BUSY" "Another code is being redeemed on this transaction right now." "Wait for that call.",
    StateMismatch "STATE_MISMATCH" "The state is not the transaction's." "Pass state as received; after five wrong tries the transaction ends.",
    IssMismatch "ISS_MISMATCH" "The iss parameter is missing or not the recorded issuer's (RFC 9207 §2.4)." "The response may come from another server: do not retry it.",
    AuthorizationRefused "AUTHORIZATION_REFUSED" "The authorization server answered with an error instead of a code." "See `oauth_error`; begin again when it is resolved.",
    CodeExpiredLocally "CODE_EXPIRED_LOCALLY" "The code was held longer than the hold time." "Begin again.",
    CodeAlreadyUsed "CODE_ALREADY_USED" "This code was or is being redeemed." "Use the first call's grant, or repeat its request_id.",
    CodeReplayed "CODE_REPLAYED" "This code was seen under another transaction." "Begin again and look at the audit log.",
    ScopeNotInTransaction "SCOPE_NOT_IN_TRANSACTION" "The call names a scope that was not begun (RFC 6749 §6)." "Begin with all the scopes that are needed.",
    GrantUnknown "GRANT_UNKNOWN" "There is no such grant of this caller: unknown, another's, revoked or ended." "Begin again.",
    TokenExpired "TOKEN_EXPIRED" "The held token has ended, or ends before min_ttl, and no other can be had." "Begin again.",
    ScopeNotGranted "SCOPE_NOT_GRANTED" "More was asked than the grant holds." "Ask for the grant's own scopes and resource.",
    NarrowingUnavailable "NARROWING_UNAVAILABLE" "Fewer scopes than the grant's were asked, and the issuer offers no sure way to narrow." "Ask for the grant's own scopes.",
    PolicyDenied "POLICY_DENIED" "Policy said no." "See `policy_code`, `scopes`, `advice` and `decision_id`.",
    PolicyEvalError "POLICY_EVAL_ERROR" "A policy failed to evaluate, so the answer is no." "Give the platform team `decision_id`.",
    ObligationUnmet "OBLIGATION_UNMET" "Policy allows this on terms that cannot be kept." "See `obligation`.",
    ScopeNoLongerAllowed "SCOPE_NO_LONGER_ALLOWED" "Policy allowed the scope at the beginning and no longer does." "Begin again with less.",
    PolicyNotLoaded "POLICY_NOT_LOADED" "No valid policy set is loaded." "Wait, or look at the daemon's log.",
    BindingUnusable "BINDING_UNUSABLE" "The client's tokens are certificate-bound and this caller cannot present the certificate (RFC 8705 §3)." "Use a bearer client, or share the certificate.",
    PkceUnsupported "PKCE_UNSUPPORTED" "The authorization server does not advertise PKCE S256 (RFC 7636)." "Use a server that does.",
    MetadataUnavailable "METADATA_UNAVAILABLE" "The authorization server's metadata could not be fetched." "Retry later.",
    MetadataIssuerMismatch "METADATA_ISSUER_MISMATCH" "The metadata names another issuer (RFC 8414 §3.3)." "Correct `issuer` in the configuration.",
    MetadataRejected "METADATA_REJECTED" "The authorization server's metadata cannot be used." "See `field`, and the daemon's log.",
    AsUnreachable "AS_UNREACHABLE" "No connection to the authorization server. Nothing was sent." "Retry the same call.",
    AsTlsUntrusted "AS_TLS_UNTRUSTED" "The authorization server's certificate is not trusted. Nothing was sent." "Look at the daemon's log.",
    AsTimeout "AS_TIMEOUT" "The authorization server did not answer in time. A code that was sent is spent." "Begin again; repeat a GetToken.",
    AsUnavailable "AS_UNAVAILABLE" "The authorization server asked to come back later. A code that was sent is spent." "Begin again later; repeat a GetToken.",
    AsRedirectRefused "AS_REDIRECT_REFUSED" "The authorization server answered with a redirect." "Correct the endpoint in the configuration.",
    AsResponseMalformed "AS_RESPONSE_MALFORMED" "The authorization server's answer breaks RFC 6749 §5. Every token in it is revoked." "Begin again; give the platform team `decision_id` and `rule`, the rule it breaks.",
    AsClientAuthFailed "AS_CLIENT_AUTH_FAILED" "The authorization server refused narrowgate's own credentials." "Give the platform team `decision_id`.",
    AsRejected "AS_REJECTED" "The authorization server did not do what was asked, for a reason of its own." "Give the platform team `decision_id`.",
    GrantRejected "GRANT_REJECTED" "The authorization server answered invalid_grant." "Begin again.",
    ScopeRejected "SCOPE_REJECTED" "The authorization server answered invalid_scope or invalid_target." "Check the client's registration there.",
    ScopeUpgraded "SCOPE_UPGRADED" "More scope was issued than allowed. The token was revoked." "Give the platform team `decision_id`.",
    ScopeNarrowed "SCOPE_NARROWED" "A required scope was not granted. The token was revoked." "Ask for less, or have the person grant it.",
    TokenTypeUnsupported "TOKEN_TYPE_UNSUPPORTED" "The token type is not one that was asked for." "Check the client's registration.",
    TokenBindingMismatch "TOKEN_BINDING_MISMATCH" "The token is not bound as the client demands (RFC 8705 §3, RFC 9449 §5). It was revoked." "Check the client's registration.",
    RedeemOutcomeUnknown "REDEEM_OUTCOME_UNKNOWN" "The connection broke after the code was sent. It is never sent again." "Begin again.",
    AuditUnavailable "AUDIT_UNAVAILABLE" "The audit log cannot be written, so nothing is issued." "Retry later; the daemon recovers by itself.",
    ClockImplausible "CLOCK_IMPLAUSIBLE" "The system clock is before this program was built." "Set the clock.",
    ShuttingDown "SHUTTING_DOWN" "The daemon is stopping." "Retry: another one may be starting.",
    DeadlineExceeded "DEADLINE_EXCEEDED" "The caller's deadline passed." "Repeat with the same request_id.",
    Internal "INTERNAL" "A fault in narrowgate. Nothing about it is sent." "Give the platform team the time of the call.",
    MetadataStale "METADATA_STALE" "The authorization server's metadata is older than it may be, and no new one can be had." "Retry later.",
    IssuerEndpointChanged "ISSUER_ENDPOINT_CHANGED" "The issuer's token endpoint has moved since the transaction began. Nothing was sent." "Begin again, once the platform team knows why it moved.",
    JwksUnavailable "JWKS_UNAVAILABLE" "The authorization server's keys could not be fetched, or are not believed. The code was not sent." "Retry the same call.",
    IdTokenInvalid "ID_TOKEN_INVALID" "The ID token is missing or breaks OpenID Connect Core §3.1.3.7. The tokens were revoked." "Begin again; see `rule`, and the daemon's log for the line to change.",
    NonceMismatch "NONCE_MISMATCH" "The ID token was not made for this transaction. The tokens were revoked." "Begin again, and look at the audit log.",
    AtHashMismatch "AT_HASH_MISMATCH" "The ID token was not made for this access token. The tokens were revoked." "Begin again, and look at the audit log.",
    StepUpRequired "STEP_UP_REQUIRED" "The person has not logged in as freshly or as strongly as demanded. Nothing was handed out; tokens that were issued for it were revoked." "Begin again with the acr_values and the max_age of the Advice in the details.",
    HumanCaller "HUMAN_CALLER" "The call comes from a person's login session, and no policy permits break_glass." "Run the agent as a service, or have the platform team permit break_glass for it, or serve people with interactive = \"allow\" in [listen.unix].",
    IssuerBusy "ISSUER_BUSY" "As many requests to the authorization server are under way as may be, or as one agent may have there." "The code was not sent. Retry the same call after the time in RetryInfo.",
    ReauthRequired "REAUTH_REQUIRED" "The authorization server has ended this grant: a person must log in again." "Begin again.",
    RefreshOutcomeUnknown "REFRESH_OUTCOME_UNKNOWN" "The connection broke after the refresh token was sent." "Call again: REAUTH_REQUIRED then means that the server had replaced it.",
    PkceRequired "PKCE_REQUIRED" "A request begun elsewhere is registered without an S256 code challenge (RFC 7636)." "Send one: a nonce does not replace it.",
    PkceMismatch "PKCE_MISMATCH" "The verifier is not that of the registered challenge. The code was not sent." "The code may have been injected: begin again.",
    Frozen "FROZEN" "An operator has frozen the agent, the client or its issuer." "Stop, and ask the platform team. When it is unfrozen, begin again: nothing from before comes back.",
    OperatorUnknown "OPERATOR_UNKNOWN" "The attested caller is no operator." "Register its uid as an operator in the agents file. Agents use the agents' socket.",
    FreezeNotKept "FREEZE_NOT_KEPT" "The list of freezes could not be written to disk. A freeze is in force all the same, until a restart; an unfreeze was not done." "Make room on the disk of the audit log, and call again.",
    DpopNonceLoop "DPOP_NONCE_LOOP" "The authorization server refused the very nonce that it had given (RFC 9449 §8). A code is spent." "Begin again; repeat a GetToken.",
    DpopKeyMismatch "DPOP_KEY_MISMATCH" "The key is not the one that the authorization was begun with (RFC 9449 §10). Nothing was sent." "Begin again, and look at the audit log.",
    DpopProofInvalid "DPOP_PROOF_INVALID" "The DPoP proof is not one of this key for this request (RFC 9449 §4.3), or lacks the server's nonce." "See `rule`. Make a new proof for each call; where it was the nonce, begin again.",
    ClientCredentialUnusable "CLIENT_CREDENTIAL_UNUSABLE" "narrowgate's own credential for the authorization server cannot be used. Nothing was sent." "Look at the daemon's log, then retry the same call.",
    ParRequired "PAR_REQUIRED" "Authorization requests must be pushed (RFC 9126), and the issuer offers no endpoint for that, or the configuration forbids it." "Correct `par` in the configuration, or the issuer.",
    ParResponseMalformed "PAR_RESPONSE_MALFORMED" "The answer to the pushed authorization request breaks RFC 9126 §2.2." "Begin again; give the platform team the time of the call.",
    GrantTypeDisabled "GRANT_TYPE_DISABLED" "The client is not configured for this grant type." "Have the platform team allow it in the client's configuration, or use another client.",
    SubjectTokenInvalid "SUBJECT_TOKEN_INVALID" "The subject token or assertion could not be verified. Nothing was sent." "See `rule`; bring a current one of a trusted issuer.",
    SubjectTokenNotYours "SUBJECT_TOKEN_NOT_YOURS" "The subject token or assertion was neither issued to nor made for this agent." "Have your caller get one whose audience or actor is this agent.",
    ScopeNotInSubject "SCOPE_NOT_IN_SUBJECT" "More scope was asked than the subject token carries." "Ask for scopes of the subject token.",
    ActorTokenForbidden "ACTOR_TOKEN_FORBIDDEN" "The request brings an actor token. narrowgate makes it itself, from the attested identity." "Leave `actor_token` and `actor_token_type` empty.",
    MayActMismatch "MAY_ACT_MISMATCH" "The subject token's may_act names another actor (RFC 8693 §4.4)." "Have your caller get one that this agent may act for.",
    TargetNotAllowed "TARGET_NOT_ALLOWED" "A resource or audience is not one that may be asked for. Nothing was sent." "Name declared APIs of the client's issuer, or audiences of the client's configuration.",
    IssuedTypeUnexpected "ISSUED_TYPE_UNEXPECTED" "The issued token is of another type than was asked for (RFC 8693 §2.2.1). It was revoked." "Check the client's registration.",
    ActMissing "ACT_MISSING" "The issued token does not show this agent as its actor (RFC 8693 §4.1). It was revoked." "Look at the daemon's log for the line to change.",
    ActTooDeep "ACT_TOO_DEEP" "The chain of actors is longer than the client may have." "Take a shorter way to the resource.",
    RequestOutcomeUnknown "REQUEST_OUTCOME_UNKNOWN" "The connection broke after the token request was sent." "Call again.",
    AtContractViolation "AT_CONTRACT_VIOLATION" "The access token is not what its issuer's contract says (RFC 9068 §2, §4). The tokens were revoked." "Begin again; see `rule`, and the daemon's log for the line to change.",
    AudienceMismatch "AUDIENCE_MISMATCH" "The access token is for another resource than was asked for (RFC 8707 §2). The tokens were revoked." "Have the issuer honour `resource`.",
    IntrospectionUnavailable "INTROSPECTION_UNAVAILABLE" "The authorization server could not be asked whether it stands by the token. One that was just issued was revoked." "Repeat a GetToken; begin again where a code was spent.",
    GrantStoreUnavailable "GRANT_STORE_UNAVAILABLE" "The file that grants are kept in cannot be written, so nothing is spent that could be lost. What was revoked or frozen is so all the same, until a crash before it can be written." "Retry the same call; the daemon recovers by itself.",
    ApiUndeclared "API_UNDECLARED" "The URL is not that of a declared API. Nothing was fetched." "Pass the URL that was answered with the challenge, or have the platform team declare its API.",
    PrmUnavailable "PRM_UNAVAILABLE" "The API's own metadata (RFC 9728) could not be fetched." "Retry after the time in RetryInfo.",
    PrmRejected "PRM_REJECTED" "The API's own metadata (RFC 9728), or the place that the challenge names for it, cannot be used." "See `rule`, and the daemon's log.",
    PrmResourceMismatch "PRM_RESOURCE_MISMATCH" "The API's own metadata is for another resource (RFC 9728 §3.3), and nothing of it is used." "Do not follow this challenge: it may come from another server.",
    NoTrustedIssuer "NO_TRUSTED_ISSUER" "The API's own metadata names no authorization server that is configured for this API. None was contacted." "Do not log in anywhere else; have the platform team configure the issuer, if it is to be trusted.",
    AuthorizationDetailsInvalid "AUTHORIZATION_DETAILS_INVALID" "The authorization details are not a JSON array of declared types and fields (RFC 9396 §2), or too large." "See the field violations; the catalogue declares what may be asked for.",
    AuthorizationDetailsUnsupported "AUTHORIZATION_DETAILS_UNSUPPORTED" "The authorization server does not support a type of authorization details that is asked for (RFC 9396 §10)." "Ask without it, or have the issuer's metadata list it in `authorization_details_types_supported`.",
    RarUpgraded "RAR_UPGRADED" "The authorization details of the answer are missing, or wider than those asked for (RFC 9396 §7). The token was revoked." "Give the platform team `decision_id`, and `rule`, which says what was wrong.",
    HumanApprovalRequired "HUMAN_APPROVAL_REQUIRED" "Policy wants a person's approval of this request. An agent's own word is none." "Have an approver sign the digests of the Advice in the details, and call again with the record.",
    ApprovalInvalid "APPROVAL_INVALID" "The approval record is not one of an approver for this request, or was used. Nothing was sent." "See `rule`; have the approver sign a new one.",
}
