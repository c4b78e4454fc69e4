use narrowgate::{audit::Recorded, policy::Permitted};

pub fn forge(permitted: Permitted) -> Recorded<Permitted> {
    Recorded { 0: permitted }
}
