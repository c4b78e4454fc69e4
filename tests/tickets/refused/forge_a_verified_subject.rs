use narrowgate::{model::{Boot, IssuerAlias, SubjectToken, TokenType, Wall}, oauth::VerifiedSubject};

pub fn forge(token: SubjectToken, issuer: IssuerAlias, ends: (Boot, Wall)) -> VerifiedSubject {
    let (token_type, scopes, actors, person, subject) = (TokenType::AccessToken, None, Vec::new(), None, None);
    VerifiedSubject { token, token_type, issuer, scopes, actors, ends, person, subject }
}
