use narrowgate::{model::{Claimed, DecisionId}, policy::Policies, transaction::Claim};

pub fn resurrect(policies: &Policies, claim: Claim, claimed: &Claimed, id: DecisionId) {
    let _caller = claim.end();
    let _permitted = policies.permit(claim, claimed, id);
}
