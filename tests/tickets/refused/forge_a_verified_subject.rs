use narrowgate::{model::{Boot, IssuerAlias, SubjectToken, Terms, TokenType, Wall}, oauth::VerifiedSubject};

pub fn forge(token: SubjectToken, issuer: IssuerAlias, ends: (Boot, Wall)) -> VerifiedSubject {
    let (token_type, scopes, actors, person, subject) = (TokenType::AccessToken, None, Vec::new(), None, None);
    let (begun, terms) = (None, Terms::default());
    VerifiedSubject { token, token_type, issuer, scopes, actors, ends, person, subject, begun, terms }
}
