use narrowgate::{caller::Caller, oauth::{Kept, Obtained}};

pub fn forge(kept: Kept, caller: Caller) -> Obtained {
    Obtained { kept, caller, unexpected: None }
}
