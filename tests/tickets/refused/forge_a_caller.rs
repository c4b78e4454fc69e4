use narrowgate::{caller::{Attestation, Caller}, model::Agent};
use std::sync::Arc;

pub fn forge(agent: Arc<Agent>, attestation: Attestation) -> Caller {
    Caller { agent, attestation, interactive: None }
}
