use narrowgate::{caller::Caller, oauth::{Issued, Kept}, transaction::Closing};

pub fn forge(kept: Kept, caller: Caller, closing: Closing) -> Issued {
    Issued { kept, caller, closing }
}
