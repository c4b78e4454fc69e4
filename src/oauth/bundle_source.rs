//! A policy bundle from an https URL.
//!
//! What this protects: the URL is written in the configuration, its server is known by trust roots of its own, and it is
//! asked without certificate, cookie or credential. Nothing it says is trusted for that: the signature alone counts, and
//! is verified before the archive is so much as asked for. A server that answers with something else can keep a daemon
//! from a newer set; the metric of the time since the last good look tells.

use super::{
    http::{self, Answer, Broken},
    names::Names,
    tls::client_config,
};
use crate::{
    config::{BundleOrigin, Config, Finding, PolicyBundle, Reach, about},
    model::Reason,
    platform::bundle::{BUNDLE_BYTES_MAX, SIGNATURE_BYTES_MAX, Signature, Signed},
};
use ::http::{HeaderValue, StatusCode, header};
use rustls::ClientConfig;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use url::Url;

/// The whole time for signature and archive.
const DEADLINE: Duration = Duration::from_secs(20);
/// Readings of signature and archive until they belong together: somebody may be putting new ones in place.
const READINGS_MAX: usize = 3;
/// The pause between them.
const SETTLE: Duration = Duration::from_millis(250);

/// The server of a bundle, and what it has said.
pub struct BundleSource {
    bundle: Url,
    signature: Url,
    tls: Arc<ClientConfig>,
    names: Names,
    settings: PolicyBundle,
    latest: Mutex<Latest>,
}

/// What came last.
#[derive(Default)]
struct Latest {
    /// The entity tag of the signature (RFC 9110 §8.8.3).
    tag: Option<HeaderValue>,
    signed: Option<Arc<Signed>>,
    /// How often in a row it was what it had been.
    repeats: u32,
}

impl Latest {
    fn again(&mut self, signed: Arc<Signed>) -> Fetched {
        self.repeats = self.repeats.wrapping_add(1);
        Fetched { signed, repeats: self.repeats }
    }
}

/// What is there now.
pub struct Fetched {
    /// The bundle. Of the signature alone it is known that a pinned key made it.
    pub signed: Arc<Signed>,
    /// How often in a row it was what it had been; 0 if it is another one than before.
    pub repeats: u32,
}

/// Why nothing came.
enum Missed {
    /// Signature and archive do not belong together.
    Torn(String),
    /// Anything else.
    Other(String),
}

impl BundleSource {
    /// The source that a configuration names; `None` if it names no URL.
    ///
    /// # Errors
    /// Trust roots that cannot be used.
    pub fn new(config: &Config, file: &Path) -> Result<Option<Self>, Vec<Finding>> {
        let Some(settings) = &config.bundle else { return Ok(None) };
        let BundleOrigin::Url { url, roots } = &settings.origin else { return Ok(None) };
        let tls = client_config(roots, None).map_err(|w| vec![about(file, format!("`policy.bundle.ca`: {w}"))])?;
        let mut signature = url.clone();
        signature.set_path(&format!("{}.sig", url.path()));
        let latest = Mutex::new(Latest { signed: settings.fetched().cloned(), ..Latest::default() });
        let (bundle, settings) = (url.clone(), settings.clone());
        Ok(Some(Self { bundle, signature, tls, names: Names::new(), settings, latest }))
    }

    /// Asks for the bundle, if it is another one than came last (RFC 9110 §13.1.2).
    ///
    /// # Errors
    /// Why nothing came, or nothing that a pinned key has signed; what came last stays.
    pub async fn fetch(&self) -> Result<Fetched, Finding> {
        let mut latest = self.latest.lock().await;
        let fetching = async {
            let mut reading = 1;
            loop {
                match self.once(&mut latest).await {
                    Err(Missed::Torn(_)) if reading < READINGS_MAX => reading += 1,
                    Err(Missed::Torn(wrong) | Missed::Other(wrong)) => return Err(wrong),
                    Ok(fetched) => return Ok(fetched),
                }
                tokio::time::sleep(SETTLE).await;
            }
        };
        let fetched = tokio::time::timeout(DEADLINE, fetching).await;
        let slow = || Err(format!("cannot be fetched: not within {} s", DEADLINE.as_secs()));
        fetched.unwrap_or_else(|_| slow()).map_err(|wrong| about(&self.settings.place(), wrong))
    }

    async fn once(&self, latest: &mut Latest) -> Result<Fetched, Missed> {
        let tag = latest.tag.as_ref().filter(|_| latest.signed.is_some());
        let was_asked_for = tag.is_some();
        let answer = self.get(&self.signature, tag, SIGNATURE_BYTES_MAX).await.map_err(Missed::Other)?;
        if let (StatusCode::NOT_MODIFIED, Some(signed), true) = (answer.status, latest.signed.clone(), was_asked_for) {
            return Ok(latest.again(signed));
        }
        let of_signature = |wrong| Missed::Other(format!("the signature at {} {wrong}", self.signature));
        require_ok(answer.status).map_err(of_signature)?;
        let signature = Signature::parse(&answer.body).map_err(of_signature)?;
        signature.require_of(&self.settings.keys).map_err(Missed::Other)?;
        // Whoever serves an older one has it, and no key: that says nothing about the set that runs.
        if self.settings.is_over(&signature) {
            return Err(Missed::Other(format!("the signature at {} is of an older bundle", self.signature)));
        }
        let tag = answer.headers.get(header::ETAG).cloned();
        if let Some(signed) = latest.signed.clone().filter(|signed| signed.signature == signature) {
            latest.tag = tag;
            return Ok(latest.again(signed));
        }
        let answer = self.get(&self.bundle, None, BUNDLE_BYTES_MAX).await.map_err(Missed::Other)?;
        require_ok(answer.status).map_err(Missed::Other)?;
        signature.require_for(&answer.body).map_err(Missed::Torn)?;
        let signed = Arc::new(Signed { archive: answer.body.to_vec(), signature });
        *latest = Latest { tag, signed: Some(Arc::clone(&signed)), repeats: 0 };
        Ok(Fetched { signed, repeats: 0 })
    }

    async fn get(&self, url: &Url, tag: Option<&HeaderValue>, bytes_max: u64) -> Result<Answer, String> {
        let line = http::connect(url, &self.tls, Reach::Anywhere, &self.names).await.map_err(|fault| {
            let why = match fault.reason {
                Reason::AsTlsUntrusted => "its server's certificate is not one that `ca` vouches for",
                _ => "its server cannot be reached",
            };
            format!("cannot be fetched: {why}")
        })?;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        http::get_unless(line, tag, bytes_max).await.map_err(|broken| match broken {
            Broken::Connection => "cannot be fetched: the connection broke, or the answer is not HTTP".to_owned(),
            Broken::TooLong => format!("cannot be fetched: the answer has more than {bytes_max} bytes"),
        })
    }
}

fn require_ok(status: StatusCode) -> Result<(), String> {
    match status {
        StatusCode::OK => Ok(()),
        _ if status.is_redirection() => {
            Err(format!("cannot be fetched: the answer is {status}, and no redirect is followed"))
        }
        _ => Err(format!("cannot be fetched: the answer is {status}")),
    }
}
