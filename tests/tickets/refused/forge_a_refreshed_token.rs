use narrowgate::oauth::{Kept, Refreshed, Turn};

pub fn forge(kept: Kept, turn: Turn) -> Refreshed {
    Refreshed { kept, turn }
}
