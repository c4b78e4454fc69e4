use narrowgate::transaction::Claim;

pub fn twice(claim: Claim) {
    let _first = claim.spend();
    let _second = claim.spend();
}
