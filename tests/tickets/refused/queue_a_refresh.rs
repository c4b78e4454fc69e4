use narrowgate::{audit::Recorder, oauth::Turn, policy::RefreshPermitted};

pub fn hasty(recorder: &Recorder, permitted: RefreshPermitted<Turn>) {
    // Only the record of a hand-out may be queued: a refresh token leaves on a durable one.
    let _ = recorder.record_queued(permitted);
}
