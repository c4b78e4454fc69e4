use narrowgate::model::{AccessToken, AuthorizationCode, RefreshToken};

pub fn multiply(code: AuthorizationCode, token: AccessToken, held: RefreshToken) {
    let _ = code.clone();
    let _ = token.clone();
    let _ = held.clone();
}
