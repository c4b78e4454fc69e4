use narrowgate::{grant::{Grants, Place}, oauth::Refreshed};

pub fn hold(grants: &Grants, place: &Place, refreshed: Refreshed) {
    let _ = grants.hold(place, refreshed);
}
