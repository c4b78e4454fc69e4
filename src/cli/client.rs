//! Talking to a daemon as an agent does.

use super::{DaemonArgs, Exit};
use crate::{
    config::{self, CertificateAndKey, PemMistake},
    model::Reason,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::{Value, json};
use std::{io, path::PathBuf, sync::Arc};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use tower::service_fn;

/// Connects to the daemon that the arguments name.
pub(super) async fn connect(daemon: &DaemonArgs) -> Result<Channel, (Exit, String)> {
    if let Some(path) = daemon.endpoint.strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        return unix(path).await.map_err(|wrong| (Exit::Unavailable, wrong));
    }
    if daemon.endpoint.starts_with("https://") {
        return tls(daemon).await;
    }
    Err((Exit::Usage, format!("--endpoint must be unix:/path or https://host:port, not {:?}", daemon.endpoint)))
}

pub(super) async fn unix(path: PathBuf) -> Result<Channel, String> {
    let shown = path.display().to_string();
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The socket's path must not become the authority: HTTP/2 servers refuse it.
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let cause = root_cause(&error);
        format!("cannot reach narrowgate on unix:{shown}: {cause}; is it running, and may you use the socket?")
    })
}

async fn tls(daemon: &DaemonArgs) -> Result<Channel, (Exit, String)> {
    let (Some(ca), Some(cert), Some(key)) = (&daemon.ca, &daemon.cert, &daemon.key) else {
        return Err((
            Exit::Usage,
            "an https endpoint needs --ca, --cert and --key: the daemon knows callers by certificate".to_owned(),
        ));
    };
    let usage = |wrong: String| (Exit::Usage, wrong);
    let url = url::Url::parse(&daemon.endpoint).map_err(|e| usage(format!("--endpoint: {e}")))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let name = ServerName::try_from(host.clone()).map_err(|_| usage("--endpoint has no usable host".to_owned()))?;
    let config = client_config(ca, cert, key).map_err(usage)?;
    let connector = service_fn(move |_| {
        let (config, name, host) = (Arc::clone(&config), name.clone(), host.clone());
        async move {
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            let stream = TlsConnector::from(config).connect(name, tcp).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The connector has done the TLS; tonic must not look for its own.
    let authority = format!("http://{}:{port}", url.host_str().unwrap_or_default());
    let endpoint = Endpoint::from_shared(authority).map_err(|e| usage(e.to_string()))?;
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        (Exit::Unavailable, format!("cannot reach narrowgate on {}: {}", daemon.endpoint, root_cause(&error)))
    })
}

fn client_config(
    ca: &std::path::Path,
    cert: &std::path::Path,
    key: &std::path::Path,
) -> Result<Arc<ClientConfig>, String> {
    let identity = CertificateAndKey::load(cert, key).map_err(|mistakes| {
        let told = mistakes.into_iter().map(|(PemMistake::Certificate(wrong) | PemMistake::Key(wrong))| wrong);
        told.collect::<Vec<_>>().join("; ")
    })?;
    let mut roots = RootCertStore::empty();
    for root in config::certificates(ca)? {
        roots.add(root).map_err(|e| format!("{}: {e}", ca.display()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain, identity.key.clone_key())
        .map_err(|e| format!("{}: {e}", cert.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A status in gRPC's own spelling.
pub(super) fn code_name(code: Code) -> String {
    let camel = format!("{code:?}");
    let mut name = String::new();
    for character in camel.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

/// Whether a callback was refused as not the transaction's own, which leaves the transaction as it was.
pub(super) fn is_forged(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let left = [Reason::StateMismatch, Reason::IssMismatch, Reason::ParamDuplicate, Reason::CodeSyntax];
    reason.is_some_and(|reason| left.iter().any(|r| r.name() == reason))
}

/// A status for people and for programs: the reason, what to do next, and the facts that came with it.
pub(super) fn explain(status: &Status) -> (String, Value) {
    let info = status.get_details_error_info();
    let reason = info.as_ref().map_or("none", |i| i.reason.as_str());
    let mut facts: Vec<(&String, &String)> = info.iter().flat_map(|i| i.metadata.iter()).collect();
    facts.sort();
    let mut text = format!("{reason} ({}): {}", code_name(status.code()), status.message());
    for (key, value) in &facts {
        text = format!("{text}\n  {key}: {value}");
    }
    let metadata: serde_json::Map<String, Value> = facts.into_iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let mut value = json!({ "error": { "status": code_name(status.code()), "reason": reason, "message": status.message(), "metadata": metadata } });
    if let Some((advice, members)) = super::advice::told(status) {
        text = format!("{text}{advice}");
        if let Some(error) = value.get_mut("error").and_then(Value::as_object_mut) {
            error.insert("advice".to_owned(), members);
        }
    }
    (text, value)
}
