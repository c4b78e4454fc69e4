use narrowgate::{audit::Recorded, oauth::Issued, policy::{Permitted, Released}};

pub fn apart(permitted: Permitted, recorded: Recorded<Permitted>, issued: Issued, released: Released<Issued>) {
    let _ = permitted.into_parts();
    let _ = recorded.into_inner();
    let _ = issued.into_parts();
    let _ = released.into_parts();
}
