use narrowgate::model::{AccessToken, AuthorizationCode, CodeVerifier, RefreshToken, StateValue};

pub fn print(code: AuthorizationCode, verifier: CodeVerifier, state: StateValue, token: AccessToken, held: RefreshToken) {
    let _ = format!("{code}");
    let _ = format!("{code:?}");
    let _ = format!("{verifier:?}");
    let _ = format!("{state:?}");
    let _ = format!("{token:?}");
    let _ = format!("{held:?}");
}
