use narrowgate::model::AccessToken;

pub fn convert(token: AccessToken) {
    let _ = token.to_string();
    let _: &str = token.as_ref();
    let _ = token.len();
    let _: String = token.into_inner();
}
