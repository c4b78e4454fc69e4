use narrowgate::{model::{Claimed, DecisionId}, policy::Policies, transaction::Claim};

pub fn two_permits(policies: &Policies, claim: Claim, claimed: &Claimed, id: DecisionId) {
    let _first = policies.permit(claim, claimed, id);
    let _second = policies.permit(claim, claimed, id);
}
