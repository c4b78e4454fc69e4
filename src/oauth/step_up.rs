//! A server that wants the person to log in anew, or otherwise (RFC 9470 §3): told to the agent, which acts on it by
//! beginning again. Nothing is tried again here.

use crate::model::{Advice, Fault, LoginDemand};
use serde_json::Value;
use std::time::Duration;

/// The error code.
pub(super) const ERROR: &str = "insufficient_user_authentication";

/// The fault with what the server names of the login that it wants: `acr_values`, a list in one text, and `max_age`, in
/// seconds. What could not be asked for is left out.
pub(super) fn asked(fault: Fault, (acr_values, max_age): &(Option<Value>, Option<Value>)) -> Fault {
    let names = acr_values.as_ref().and_then(Value::as_str).unwrap_or_default();
    let names = names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // Both forms are seen: a number, and the text of one as in a header.
    let seconds = max_age.as_ref().and_then(|age| age.as_u64().or_else(|| age.as_str()?.parse().ok()));
    let acr_values = LoginDemand::parse(&[], None, names, String::new()).map(|demand| demand.acr_values);
    let max_age = LoginDemand::parse(&[], seconds.map(Duration::from_secs), Vec::new(), String::new());
    fault.advising(Advice::step_up(acr_values.unwrap_or_default(), max_age.ok().and_then(|demand| demand.max_age)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reason, StepUp};
    use serde_json::json;

    // rows: AGNT-06
    #[test]
    fn only_what_could_be_asked_for_is_told() {
        let told = |acr: Value, age: Value| {
            let fault = asked(Reason::StepUpRequired.into(), &(Some(acr), Some(age)));
            let StepUp { acr_values, max_age } = fault.advice.unwrap().step_up.unwrap();
            (acr_values.join(" "), max_age.map(|age| age.as_secs()))
        };
        assert_eq!(told(json!("gold  silver"), json!(5)), ("gold silver".to_owned(), Some(5)));
        assert_eq!(told(json!("urn:x"), json!("300")), ("urn:x".to_owned(), Some(300)));
        for odd in [json!(null), json!(["gold"]), json!("a\u{1b}[2J"), json!("x".repeat(129)), json!("a ".repeat(17))] {
            assert_eq!(told(odd, json!(0)), (String::new(), None));
        }
        for odd in [json!(-1), json!(1.5), json!("5s"), json!(u64::MAX), json!(true)] {
            assert_eq!(told(json!("gold"), odd).1, None);
        }
    }
}
