//! Why a server's metadata, or its answer, cannot be used, where one reason of the protocol stands for several causes:
//! each has a sentence for the caller and a line for the operator, and names a line of the configuration only where one
//! would cure it.

use crate::{
    config::NotAllowed,
    model::{Fault, IssuerAlias, Reason},
};

/// Why a metadata document cannot be used.
pub(super) enum Cause {
    /// A member that is needed is not there.
    Missing,
    /// An endpoint is no https URL without userinfo and fragment.
    NoHttps,
    /// An endpoint is on a host or a port that the configuration does not name.
    NotAllowed(NotAllowed),
    /// The authorization endpoint brings a parameter along that is ours to set.
    OurParameter(&'static str),
    /// An earlier document promised it.
    TakenBack,
    /// The method of client authentication is not offered, and the configuration is strict.
    StrictMethods,
}

/// The document of this issuer cannot be used because of this member.
pub(super) fn rejected(issuer: &IssuerAlias, field: &'static str, cause: &Cause) -> Fault {
    let fault = Fault::new(Reason::MetadataRejected).with("issuer", issuer.as_str()).with("field", field);
    match cause {
        Cause::Missing => {
            tracing::error!(%issuer, field, "the metadata lacks this member; if the server has such an endpoint all the same, write all of them into [issuer.endpoints]");
            let fault = fault.with("cure", "[issuer.endpoints]");
            fault
                .in_detail("It lacks a member that is needed; [issuer.endpoints] in the configuration takes its place.")
        }
        Cause::NoHttps => {
            tracing::error!(%issuer, field, "the metadata has something here that is no https URL without userinfo and fragment: this is for the server to correct");
            fault.in_detail(
                "One of its endpoints is no https URL without userinfo and fragment: this is for the server to correct.",
            )
        }
        Cause::NotAllowed(NotAllowed::Host(host)) => {
            tracing::error!(%issuer, field, "the metadata names the host {host:?}; if it is right, add to [[issuer]]: allowed_hosts = [{host:?}]");
            fault.with("cure", "allowed_hosts").in_detail(
                "It names a host that the configuration does not: if it is right, the daemon's log has the line to add.",
            )
        }
        Cause::NotAllowed(NotAllowed::Port(port)) => {
            tracing::error!(%issuer, field, "the metadata names the port {port}; if it is right, add to [[issuer]]: allowed_ports = [{port}]");
            fault.with("cure", "allowed_ports").in_detail(
                "It names a port that the configuration does not: if it is right, the daemon's log has the line to add.",
            )
        }
        Cause::OurParameter(parameter) => {
            tracing::error!(%issuer, field, parameter, "the metadata brings a parameter along that narrowgate sets: this is for the server to correct");
            fault.in_detail(
                "Its authorization endpoint brings a parameter that narrowgate sets: this is for the server to correct.",
            )
        }
        Cause::TakenBack => {
            tracing::error!(%issuer, field, "the metadata has taken this back; if that is meant, restart narrowgate");
            fault
                .in_detail("It has taken back what it promised before: if that is meant, narrowgate must be restarted.")
        }
        Cause::StrictMethods => {
            tracing::error!(%issuer, field, "the metadata does not offer how a client of ours authenticates; if the server takes it all the same, set in [[issuer]]: strict_metadata = false");
            fault.with("cure", "strict_metadata").in_detail(
                "It does not offer how narrowgate authenticates, and `strict_metadata` is set for the issuer.",
            )
        }
    }
}

/// An answer that is an error by its HTTP status alone: a server that has failed has refused nothing.
pub(super) fn by_status(status: u16) -> Fault {
    let fault = Fault::new(Reason::AsRejected).with("http_status", status.to_string());
    if status >= 500 {
        return fault
            .in_detail("It failed: it answered with a server error (see `http_status`), which refuses nothing.");
    }
    fault.in_detail("It refused (see `http_status`) without an error code of RFC 6749 §5.2.")
}
