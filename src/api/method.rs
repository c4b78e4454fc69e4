//! The methods of a door by name: a closed set, so that no path a peer makes up becomes a name in logs or metrics.

/// Stands for every path that is no method of ours.
pub(super) const OTHER: &str = "other";

/// The method that a path names.
pub(super) fn method(path: &str) -> &'static str {
    match path {
        "/narrowgate.v1.TokenService/BeginAuthorization" => "BeginAuthorization",
        "/narrowgate.v1.TokenService/RegisterAuthorization" => "RegisterAuthorization",
        "/narrowgate.v1.TokenService/RedeemCode" => "RedeemCode",
        "/narrowgate.v1.TokenService/ResolveChallenge" => "ResolveChallenge",
        "/narrowgate.v1.TokenService/ExchangeToken" => "ExchangeToken",
        "/narrowgate.v1.TokenService/ObtainToken" => "ObtainToken",
        "/narrowgate.v1.TokenService/GetToken" => "GetToken",
        "/narrowgate.v1.TokenService/WatchToken" => "WatchToken",
        "/narrowgate.v1.TokenService/SignProof" => "SignProof",
        "/narrowgate.v1.TokenService/RevokeGrant" => "RevokeGrant",
        "/narrowgate.v1.AdminService/GetStatus" => "GetStatus",
        "/narrowgate.v1.AdminService/ListGrants" => "ListGrants",
        "/narrowgate.v1.AdminService/RevokeGrants" => "RevokeGrants",
        "/narrowgate.v1.AdminService/Freeze" => "Freeze",
        "/narrowgate.v1.AdminService/Unfreeze" => "Unfreeze",
        "/narrowgate.v1.AdminService/ListFreezes" => "ListFreezes",
        "/narrowgate.v1.AdminService/Reload" => "Reload",
        "/narrowgate.v1.AdminService/Drain" => "Drain",
        "/narrowgate.v1.PolicyService/Explain" => "Explain",
        "/narrowgate.v1.PolicyService/WhatIf" => "WhatIf",
        "/grpc.health.v1.Health/Check" => "Health/Check",
        "/grpc.health.v1.Health/Watch" => "Health/Watch",
        "/grpc.health.v1.Health/List" => "Health/List",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn every_method_of_the_protocol_has_its_name() {
        let files = prost_types::FileDescriptorSet::decode(crate::api::proto::DESCRIPTORS).unwrap();
        let mut seen = 0;
        for file in files.file {
            for service in &file.service {
                for rpc in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), rpc.name());
                    assert_eq!(method(&path), rpc.name(), "{path}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 4);
        assert_eq!(method("/narrowgate.v1.TokenService/GetToken/"), OTHER);
    }
}
