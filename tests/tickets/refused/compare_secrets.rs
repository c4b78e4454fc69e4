use narrowgate::model::{AccessToken, StateValue};

pub fn in_variable_time(sent: StateValue, came: StateValue, token: AccessToken, other: AccessToken) -> bool {
    sent == came || token != other
}
