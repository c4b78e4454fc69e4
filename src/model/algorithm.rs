//! Signature algorithms, and which of them an issuer may use.

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). There is no symmetric one and no `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256. Allowed where the issuer's configuration says so.
    Rs256,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The name in `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name, letter for letter.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether it is for RSA keys.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
    }
}

/// The algorithms one issuer may sign with: never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Algorithms(Vec<Algorithm>);

impl Default for Algorithms {
    /// PS256, ES256 and EdDSA.
    fn default() -> Self {
        Self(vec![Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa])
    }
}

impl Algorithms {
    /// The set of these; `None` if there is none.
    #[must_use]
    pub fn new(some: impl IntoIterator<Item = Algorithm>) -> Option<Self> {
        let mut algorithms = Vec::new();
        for algorithm in some {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        (!algorithms.is_empty()).then_some(Self(algorithms))
    }

    /// Whether the issuer may use this one.
    #[must_use]
    pub fn allow(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rows: JOSE-01 IDT-04
    #[test]
    fn only_known_algorithms_can_be_listed() {
        let defaults = Algorithms::default();
        for algorithm in Algorithm::ALL {
            let allowed = !matches!(algorithm, Algorithm::Rs256 | Algorithm::Es384);
            assert_eq!(defaults.allow(algorithm), allowed, "{algorithm:?}");
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithms::new([]), None);
        for word in ["none", "nOnE", "HS256", "RS512", "rs256", "ES512", "ES256K", "RSA1_5", "Ed25519", "", " ES256"] {
            assert_eq!(Algorithm::parse(word), None, "{word}");
        }
    }
}
