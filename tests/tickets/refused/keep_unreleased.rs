use narrowgate::{grant::Grants, oauth::Issued};

pub fn unreleased(grants: &Grants, issued: Issued) {
    let _ = grants.keep(issued);
}
