//! The floors: a service that does nothing, and a client that does nothing but the POST.

use crate::house::House;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use narrowgate::api::proto::{
    BeginAuthorizationRequest, BeginAuthorizationResponse, ExchangeTokenRequest, ExchangeTokenResponse,
    GetTokenRequest, GetTokenResponse, ObtainTokenRequest, ObtainTokenResponse, RedeemCodeRequest, RedeemCodeResponse,
    RegisterAuthorizationRequest, RegisterAuthorizationResponse, ResolveChallengeRequest, ResolveChallengeResponse,
    RevokeGrantRequest, RevokeGrantResponse, SignProofRequest, SignProofResponse, Token, WatchTokenRequest,
    WatchTokenResponse,
    token_service_server::{TokenService, TokenServiceServer},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{fs, path::Path, sync::Arc};
use tokio::net::{TcpStream, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

struct Echo;

#[tonic::async_trait]
impl TokenService for Echo {
    async fn begin_authorization(
        &self,
        _: Request<BeginAuthorizationRequest>,
    ) -> Result<Response<BeginAuthorizationResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn register_authorization(
        &self,
        _: Request<RegisterAuthorizationRequest>,
    ) -> Result<Response<RegisterAuthorizationResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn redeem_code(&self, _: Request<RedeemCodeRequest>) -> Result<Response<RedeemCodeResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        let token = Token {
            access_token: "fake-at-0123456789abcdef0123456789abcdef".to_owned(),
            token_type: "Bearer".to_owned(),
            scopes: vec!["customers.read".to_owned()],
            resource: "https://crm.example.test/api".to_owned(),
            ..Token::default()
        };
        Ok(Response::new(GetTokenResponse { token: Some(token), decision_id: "0".repeat(36) }))
    }

    type WatchTokenStream = tokio_stream::Pending<Result<WatchTokenResponse, Status>>;

    async fn watch_token(&self, _: Request<WatchTokenRequest>) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn sign_proof(&self, _: Request<SignProofRequest>) -> Result<Response<SignProofResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn exchange_token(
        &self,
        _: Request<ExchangeTokenRequest>,
    ) -> Result<Response<ExchangeTokenResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn obtain_token(&self, _: Request<ObtainTokenRequest>) -> Result<Response<ObtainTokenResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn resolve_challenge(
        &self,
        _: Request<ResolveChallengeRequest>,
    ) -> Result<Response<ResolveChallengeResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }

    async fn revoke_grant(&self, _: Request<RevokeGrantRequest>) -> Result<Response<RevokeGrantResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }
}

/// A bare tonic server.
pub(crate) async fn serve_echo(socket: &Path) {
    let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let server = tonic::transport::Server::builder().add_service(TokenServiceServer::new(Echo));
    server.serve_with_incoming(incoming).await.unwrap();
}

/// A client that only posts.
pub(crate) struct Client {
    tls: Arc<rustls::ClientConfig>,
    verifier: String,
    challenge: String,
}

impl Client {
    pub(crate) fn new(house: &House) -> Self {
        let read = |name: &str| fs::read(house.path(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&read("server-ca.pem")).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read("client.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("client.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap());
        let verifier = "v".repeat(43);
        let challenge =
            URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()));
        Self { tls, verifier, challenge }
    }

    /// The form for a code that was just approved.
    pub(crate) fn approved_form(&self, house: &House) -> String {
        let pairs = [
            ("response_type", "code"),
            ("client_id", "narrowgate-sales"),
            ("redirect_uri", "http://127.0.0.1:50123/callback"),
            ("scope", "customers.read"),
            ("state", "bench-state-0123456789abcdef0123456789abcdef"),
            ("code_challenge", self.challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let url = url::Url::parse_with_params(&format!("{}/authorize", house.server.issuer()), pairs).unwrap();
        let code = house.server.approve(url.as_str()).code;
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", "http://127.0.0.1:50123/callback"),
                ("client_id", "narrowgate-sales"),
                ("code_verifier", &self.verifier),
            ])
            .finish()
    }

    /// One POST on a new connection, as narrowgate makes it.
    pub(crate) async fn post(&self, house: &House, form: &str) {
        let tcp = TcpStream::connect(("127.0.0.1", house.server.token_port())).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let url = url::Url::parse(&house.server.token_url()).unwrap();
        let request = http::Request::post(url.path())
            .header("host", "127.0.0.1")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::copy_from_slice(form.as_bytes())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        driver.abort();
    }
}
