//! What the scripted server can be told to do, and how an honest answer is bent into a bad one.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::gzip;
use super::identity::Forgery;

/// One scripted answer, and which kind of request it is for.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// For the next token request (or, for the resets before a request, the next connection).
    Token(Behaviour),
    /// For the next revocation request.
    Revocation(RevocationBehaviour),
    /// For the next metadata request; behaviours that need a grant leave the metadata as it is.
    Metadata(Behaviour),
    /// For the next request for the key set, likewise.
    Jwks(Behaviour),
    /// For the next introspection request, likewise; [`Behaviour::Members`] bends its answer.
    Introspection(Behaviour),
    /// For the next pushed authorization request: a fixed answer, or other members.
    Par(Behaviour),
}

/// How to answer one token (or metadata) request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Check everything, then answer as a good server does.
    Honest,
    /// Honest, with this appended to the granted scope.
    Broader(String),
    /// Honest, with this as the whole granted scope.
    Narrower(String),
    /// Honest, without a `scope` member.
    OmitScope,
    /// Honest, with `"scope": ""`.
    EmptyScope,
    /// Honest, with this as `expires_in`.
    Lifetime(Value),
    /// Honest, without `expires_in`.
    NoExpiresIn,
    /// Honest, with this `token_type`, or none.
    TokenType(Option<String>),
    /// Honest, without a refresh token.
    NoRefreshToken,
    /// Honest, with this access token.
    AccessTokenValue(String),
    /// Honest, with an RFC 9068 access token carrying `cnf.x5t#S256`: this value, or with `None`
    /// the thumbprint of the client certificate presented.
    JwtBound {
        /// The thumbprint to claim.
        thumbprint: Option<String>,
    },
    /// As [`Behaviour::JwtBound`], with these claims added, replaced, or (null) removed.
    JwtClaims(Map<String, Value>),
    /// As [`Behaviour::JwtBound`], with this `typ` in its header.
    JwtTyp(String),
    /// Honest, with members no client asked for: an ID token, an issuer, nested junk.
    ExtraMembers,
    /// Honest, with these members added, replaced, or (null) removed.
    Members(Map<String, Value>),
    /// Honest, but for the ID token, where one was asked for.
    IdToken(Forgery),
    /// Several of the honest-but-bent behaviours at once, applied in order.
    All(Vec<Behaviour>),

    /// Honest bytes, one at a time, head included.
    Dribble {
        /// Milliseconds between two bytes.
        interval_ms: u64,
    },
    /// A JSON object that never ends, without a length.
    EndlessBody,
    /// A JSON object that never ends, chunked.
    EndlessChunks,
    /// A head that never ends. The code stays unused.
    EndlessHeaders,
    /// Honest, with one header whose value has this many bytes.
    HugeHeader(usize),
    /// Honest, compressed though nobody asked.
    Gzip,
    /// Honest, with a padding member that inflates to this many bytes.
    GzipBomb(usize),
    /// Honest, with this member given twice, first with another value.
    DuplicateKeys(&'static str),
    /// Honest, followed by a second JSON value.
    Trailing,
    /// Honest, after a UTF-8 byte order mark.
    Bom,
    /// Honest, with these headers besides.
    Headers(Vec<(&'static str, String)>),
    /// Honest, with a `Set-Cookie` header.
    SetCookie,
    /// Honest, with this content type, or none.
    ContentType(Option<String>),
    /// An honest token answer, under status 400.
    TokenWith400,
    /// An honest answer whose length is announced in full and whose second half never comes.
    CutBody,
    /// Honest, in two halves; [`super::ScriptedAs::hold_halves`] keeps the second back.
    HalfAnswer,

    /// Exactly this answer, whatever was asked. The code stays unused.
    Raw {
        /// The status.
        status: u16,
        /// The headers; nothing is added but a length and a date.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Exactly these bytes, status line included, then a clean close. The code stays unused.
    Bytes(Vec<u8>),
    /// An OAuth error answer. The code stays unused.
    OAuthError {
        /// The status.
        status: u16,
        /// The `error` member.
        error: String,
        /// The `error_description` member.
        description: Option<String>,
    },
    /// `{"error":"invalid_grant"}` under status 200. The code stays unused.
    ErrorWith200,
    /// An empty answer with this status. The code stays unused.
    Status(u16),
    /// A redirect. The code stays unused.
    Redirect {
        /// The status.
        status: u16,
        /// The `Location` header.
        location: String,
    },
    /// 401 with `WWW-Authenticate: Basic`. The code stays unused.
    Unauthorized401Basic,

    /// Read the whole request, redeem the code, then reset the connection.
    ResetAfterRequest,
    /// Read the whole request, redeem the code, then close cleanly without an answer.
    CloseAfterRequest,
    /// Reset the next connection on its first byte, before the TLS handshake. On a connection
    /// that is already open: reset when a request's head has come, without redeeming.
    ResetBeforeRequest,
    /// Reset the next connection right after its TLS handshake; on an open one, as above.
    ResetAfterHandshake,
    /// Wait, then do something else; what it does to the code, it does before the wait.
    Delay {
        /// Milliseconds to wait.
        ms: u64,
        /// What to do then.
        then: Box<Behaviour>,
    },
}

/// How to answer one revocation request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevocationBehaviour {
    /// 200 for a good client certificate, 401 otherwise.
    Ok200,
    /// This status, with an empty body.
    Status(u16),
    /// 400 `unsupported_token_type`.
    Unsupported400,
    /// Read the whole request, then reset the connection.
    Reset,
    /// A redirect with this status to this port of 127.0.0.1.
    Redirect(u16, u16),
}

/// An HTTP answer to be.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The headers, without length and date.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// What to do to the connection instead of an orderly answer.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    /// RST.
    Reset,
    /// TLS close, FIN.
    Close,
    /// These bytes, then as `Close`.
    Bytes(Vec<u8>),
    /// These bytes one at a time, then as `Close`.
    Dribble(Vec<u8>, Duration),
    /// The first of these, and the second once it is let go, then as `Close`.
    Halves(Vec<u8>, Vec<u8>),
    /// `head`, then `unit` for as long as the peer reads.
    Endless { head: Vec<u8>, unit: Vec<u8> },
}

/// What becomes of one request.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// An answer.
    Reply(Reply),
    /// A misdeed.
    Wire(Wire),
}

impl Reply {
    /// A JSON answer with the headers RFC 6749 asks for.
    pub(super) fn json(status: u16, body: &Value) -> Reply {
        Reply::json_bytes(status, body.to_string().into_bytes())
    }

    fn json_bytes(status: u16, body: Vec<u8>) -> Reply {
        Reply { status, headers: Vec::new(), body }
            .with("Content-Type", "application/json")
            .with("Cache-Control", "no-store")
            .with("Pragma", "no-cache")
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An OAuth error answer.
    pub(super) fn error(status: u16, error: &str, description: Option<&str>) -> Reply {
        let mut body = json!({ "error": error });
        if let Some(description) = description {
            body["error_description"] = json!(description);
        }
        Reply::json(status, &body)
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The head as it goes over the wire, with these further header lines.
    fn head(&self, more: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(more);
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn sized(&self) -> Vec<u8> {
        let length = self.body.len();
        let mut bytes = self.head(&format!("Content-Length: {length}\r\nConnection: close\r\n"));
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Behaviour {
    /// The total delay, and what comes after it.
    pub(super) fn undelayed(&self) -> (Duration, &Behaviour) {
        let (mut delay, mut behaviour) = (Duration::ZERO, self);
        while let Behaviour::Delay { ms, then } = behaviour {
            delay += Duration::from_millis(*ms);
            behaviour = then;
        }
        (delay, behaviour)
    }

    /// What is done to the ID token.
    pub(super) fn forgery(&self) -> Option<&Forgery> {
        match self {
            Behaviour::IdToken(forgery) => Some(forgery),
            Behaviour::All(all) => all.iter().find_map(Behaviour::forgery),
            _ => None,
        }
    }

    /// Whether this redeems the code and then loses the answer.
    pub(super) fn loses_answer(&self) -> bool {
        matches!(self, Behaviour::ResetAfterRequest | Behaviour::CloseAfterRequest)
    }

    /// Whether this strikes before the request's body is read.
    pub(super) fn strikes_early(&self) -> bool {
        matches!(self, Behaviour::ResetBeforeRequest | Behaviour::ResetAfterHandshake)
    }

    /// The outcome of a behaviour that does not look at the request.
    pub(super) fn fixed(&self) -> Option<Outcome> {
        let reply = match self {
            Behaviour::Raw { status, headers, body } => {
                Reply { status: *status, headers: headers.clone(), body: body.clone() }
            }
            Behaviour::OAuthError { status, error, description } => {
                Reply::error(*status, error, description.as_deref())
            }
            Behaviour::ErrorWith200 => Reply::error(200, "invalid_grant", None),
            Behaviour::Status(status) => Reply::empty(*status),
            Behaviour::Redirect { status, location } => Reply::empty(*status).with("Location", location),
            Behaviour::Unauthorized401Basic => {
                Reply::error(401, "invalid_client", None).with("WWW-Authenticate", "Basic realm=\"scripted\"")
            }
            Behaviour::EndlessHeaders => {
                let (head, unit) = (b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-Pad: pad\r\n".to_vec());
                return Some(Outcome::Wire(Wire::Endless { head, unit }));
            }
            Behaviour::Bytes(bytes) => return Some(Outcome::Wire(Wire::Bytes(bytes.clone()))),
            Behaviour::CloseAfterRequest => return Some(Outcome::Wire(Wire::Close)),
            Behaviour::ResetAfterRequest | Behaviour::ResetBeforeRequest | Behaviour::ResetAfterHandshake => {
                return Some(Outcome::Wire(Wire::Reset));
            }
            _ => return None,
        };
        Some(Outcome::Reply(reply))
    }

    /// Wraps the members of a good answer the way this behaviour asks for.
    pub(super) fn package(&self, members: &Map<String, Value>) -> Outcome {
        self.packaged(members).unwrap_or_else(|| Outcome::Reply(honest(members)))
    }

    fn packaged(&self, members: &Map<String, Value>) -> Option<Outcome> {
        if let Behaviour::All(all) = self {
            return all.iter().find_map(|one| one.packaged(members));
        }
        let mut reply = honest(members);
        match self {
            Behaviour::Dribble { interval_ms } => {
                let interval = Duration::from_millis(*interval_ms);
                return Some(Outcome::Wire(Wire::Dribble(reply.sized(), interval)));
            }
            Behaviour::EndlessBody => return Some(endless(&reply)),
            Behaviour::EndlessChunks => return Some(endless_chunks(&reply)),
            Behaviour::CutBody => {
                let mut bytes = reply.sized();
                bytes.truncate(bytes.len() - reply.body.len() / 2);
                return Some(Outcome::Wire(Wire::Bytes(bytes)));
            }
            Behaviour::HalfAnswer => {
                let mut bytes = reply.sized();
                let rest = bytes.split_off(bytes.len() - reply.body.len() / 2);
                return Some(Outcome::Wire(Wire::Halves(bytes, rest)));
            }
            Behaviour::HugeHeader(size) => reply = reply.with("X-Huge", &"h".repeat(*size)),
            Behaviour::Headers(more) => reply.headers.extend(more.iter().map(|(n, v)| ((*n).to_owned(), v.clone()))),
            Behaviour::SetCookie => {
                let cookie = "session=canary-cookie-0123456789abcdef; Path=/; Secure; HttpOnly";
                reply = reply.with("Set-Cookie", cookie);
            }
            Behaviour::Gzip => {
                reply.body = gzip::inflating_to(&reply.body, 0, b"");
                reply = reply.with("Content-Encoding", "gzip");
            }
            Behaviour::GzipBomb(size) => {
                let open = unclosed(&reply.body);
                reply.body = gzip::inflating_to(&open, *size, b"\"}");
                reply = reply.with("Content-Encoding", "gzip");
            }
            Behaviour::DuplicateKeys(member) => reply.body = twice(member, members, &reply.body),
            Behaviour::Trailing => reply.body.extend_from_slice(b" {\"scope\":\"admin\"}"),
            Behaviour::Bom => reply.body.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            Behaviour::ContentType(kind) => {
                reply.headers.retain(|(name, _)| name != "Content-Type");
                if let Some(kind) = kind {
                    reply = reply.with("Content-Type", kind);
                }
            }
            Behaviour::TokenWith400 => reply.status = 400,
            _ => return None,
        }
        Some(Outcome::Reply(reply))
    }
}

fn honest(members: &Map<String, Value>) -> Reply {
    Reply::json(200, &Value::Object(members.clone()))
}

/// A JSON object's bytes, left open inside a string member that only needs `"}` to end.
fn unclosed(object: &[u8]) -> Vec<u8> {
    let mut open = object.to_vec();
    open.pop();
    open.extend_from_slice(b",\"pad\":\"a");
    open
}

fn endless(reply: &Reply) -> Outcome {
    let mut head = reply.head("Connection: close\r\n");
    head.extend(unclosed(&reply.body));
    Outcome::Wire(Wire::Endless { head, unit: vec![b'a'; 4096] })
}

fn endless_chunks(reply: &Reply) -> Outcome {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let mut head = reply.head("Transfer-Encoding: chunked\r\n");
    head.extend(chunk(&unclosed(&reply.body)));
    Outcome::Wire(Wire::Endless { head, unit: chunk(&[b'a'; 1024]) })
}

fn twice(member: &str, members: &Map<String, Value>, body: &[u8]) -> Vec<u8> {
    let other = match (member, members.get(member)) {
        ("access_token", _) => json!(super::fresh("at")),
        (_, Some(Value::String(value))) => json!(format!("{value} admin")),
        (_, Some(Value::Number(_))) => json!(999_999_999),
        _ => json!("admin"),
    };
    let mut bytes = format!("{{{}:{other},", json!(member)).into_bytes();
    bytes.extend_from_slice(&body[1..]);
    bytes
}
