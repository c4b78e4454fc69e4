use narrowgate::{audit::Recorder, oauth::TokenRequest, policy::RequestPermitted};

pub fn hasty(recorder: &Recorder, permitted: RequestPermitted<TokenRequest>) {
    // Only the record of a hand-out may be queued: a subject token leaves on a durable one.
    let _ = recorder.record_queued(permitted);
}
