use narrowgate::{audit::Recorder, policy::Permitted};

pub async fn two_records(recorder: &Recorder, permitted: Permitted) {
    let _first = recorder.record(permitted).await;
    let _second = recorder.record(permitted).await;
}
