// A real, certified OpenID provider to test narrowgate against.
//
//   node server.mjs CONFIG.json
//
// Prints one JSON line {"issuer", "port"} on stdout, answers each line "counts"
// on stdin with one JSON line, and ends when stdin closes or on SIGTERM.
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';
import { resourceServer } from './resource.mjs';

// stdout belongs to the caller; the library's "you should change this" notices go there.
console.info = () => {};

const ACCOUNT = 'ana';
const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const resources = new Map(config.resources.map((r) => [r.identifier, r]));
const refused = new Set(config.refuse_scopes);
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const counts = { token: 0, revocation: 0, pushed: 0, connections: 0 };
const counted = new Map([['/token', 'token'], ['/token/revocation', 'revocation'], ['/request', 'pushed']]);

/** The client metadata of RFC 7591 and 8705 for one client of the configuration. */
function clientMetadata(client) {
  return {
    client_id: client.client_id,
    token_endpoint_auth_method: client.auth,
    ...client.subject,
    ...(client.jwks && { jwks: client.jwks }),
    ...(client.signing_alg && { token_endpoint_auth_signing_alg: client.signing_alg }),
    ...(client.request_alg && { request_object_signing_alg: client.request_alg, require_signed_request_object: true }),
    ...(client.must_push && { require_pushed_authorization_requests: true }),
    redirect_uris: client.redirect_uris,
    response_types: ['code'],
    grant_types: client.grant_types ?? ['authorization_code', 'refresh_token'],
    tls_client_certificate_bound_access_tokens: client.bound ?? false,
    ...(config.dpop && { dpop_bound_access_tokens: true }),
    ...(config.details_types && { authorization_details_types: config.details_types }),
    id_token_signed_response_alg: 'ES256',
  };
}

const subjectAltNamePrefix = {
  tls_client_auth_san_uri: 'URI:',
  tls_client_auth_san_dns: 'DNS:',
  tls_client_auth_san_ip: 'IP Address:',
  tls_client_auth_san_email: 'email:',
};

const peerCertificate = (ctx) => ctx.socket.getPeerX509Certificate();

/** Whether the peer's certificate carries exactly the value registered for `property`. */
function certificateSubjectMatches(ctx, property, expected) {
  const certificate = peerCertificate(ctx);
  if (property === 'tls_client_auth_subject_dn') {
    // node lists the names in the order of the certificate; RFC 4514 starts at its end.
    return certificate.subject?.split('\n').reverse().join(',') === expected;
  }
  // node quotes names that contain a comma, so that splitting cannot invent a name.
  const names = certificate.subjectAltName?.split(', ') ?? [];
  return names.includes(subjectAltNamePrefix[property] + expected);
}


/** RFC 9396, as far as the library leaves it to its users: what the person granted goes into the token, with an id. */
function authorizationDetails() {
  const types = Object.fromEntries((config.details_types ?? []).map((type) => [type, {
    validate(_ctx, detail) {
      if (!Array.isArray(detail.actions)) throw new errors.InvalidAuthorizationDetails('actions are missing');
    },
  }]));
  return {
    enabled: Boolean(config.details_types),
    types,
    authorizationDetailsForGrantSource: (ctx) => JSON.parse(ctx.oidc.params.authorization_details),
    authorizationDetailsForAccessToken: (_ctx, _token, source) =>
      source.rar.map((detail) => ({ ...detail, quote_id: 'quote-1' })),
    authorizationDetailsForIntrospection: (_ctx, token) => token.rar,
  };
}

function settings() {
  return {
    clients: config.clients.map(clientMetadata),
    clientAuthMethods: ['tls_client_auth', 'self_signed_tls_client_auth', 'private_key_jwt'],
    jwks: { keys: [{ ...key.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'signing' }] },
    cookies: { keys: ['only a test, so that this may be known'] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    responseTypes: ['code'],
    pkce: { required: () => true },
    extraTokenClaims: (ctx) => ctx?.actors && { act: ctx.actors },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    // The demanding case for a client: every refresh makes the token used useless.
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      richAuthorizationRequests: authorizationDetails(),
      requestObjects: { enabled: config.clients.some((client) => client.request_alg) },
      // The demanding case again: no proof without a nonce of this server.
      dPoP: { enabled: config.dpop ?? false, nonceSecret: randomBytes(32), requireNonce: () => true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: peerCertificate,
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches,
      },
      resourceIndicators: {
        enabled: true,
        // A token request that names no resource gets the granted one, also with "openid".
        useGrantedResource: () => true,
        getResourceServerInfo(_ctx, identifier) {
          const resource = resources.get(identifier);
          if (!resource) throw new errors.InvalidTarget();
          return {
            audience: identifier,
            scope: resource.scopes.join(' '),
            accessTokenFormat: 'jwt',
            accessTokenTTL: 3600,
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
    },
  };
}

/** RFC 8693, as far as the library leaves it to its users: subject and actor verified, `act` nested, scope narrowed. */
function exchangesTokens(provider) {
  provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
    const { params, client } = ctx.oidc;
    if (params.subject_token_type !== ACCESS_TOKEN || params.requested_token_type !== ACCESS_TOKEN
      || params.actor_token_type !== JWT) {
      throw new errors.InvalidRequest('another token type');
    }
    const verified = async (token, signer, options) => {
      try {
        return (await jwtVerify(token, signer, options)).payload;
      } catch {
        throw new errors.InvalidRequest('a token is not verified');
      }
    };
    const { issuer } = provider;
    const subject = await verified(params.subject_token, createPublicKey(key), { issuer, typ: 'at+jwt' });
    const actorKey = createPublicKey(readFileSync(config.actor_key));
    const expected = { issuer: client.clientId, audience: issuer, requiredClaims: ['exp', 'jti', 'sub'] };
    const actor = await verified(params.actor_token, actorKey, expected);
    const scopes = params.scope.split(' ');
    if (!scopes.every((scope) => subject.scope.split(' ').includes(scope))) throw new errors.InvalidScope('too broad', params.scope);
    const token = new provider.AccessToken({
      accountId: subject.sub, client, gty: 'token_exchange', scope: params.scope,
    });
    const info = await configuration.features.resourceIndicators.getResourceServerInfo(ctx, params.resource);
    token.resourceServer = new provider.ResourceServer(params.resource, { ...info, accessTokenTTL: Math.min(3600, subject.exp - Math.floor(Date.now() / 1000)) });
    ctx.actors = { sub: actor.sub, ...(subject.act && { act: subject.act }) };
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS_TOKEN,
      token_type: token.tokenType,
      expires_in: token.expiration,
      scope: params.scope,
    };
  }, new Set(['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'resource', 'scope']));
}

/** Adds to the grant what was asked, except for what the person refuses. */
async function consent(provider, { grantId, params, prompt: { details } }) {
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: ACCOUNT, clientId: params.client_id });
  // A refused scope has to be noted in the grant, or else the prompt comes again.
  for (const scope of details.missingOIDCScope ?? []) {
    if (refused.has(scope)) grant.rejectOIDCScope(scope);
    else grant.addOIDCScope(scope);
  }
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    for (const scope of scopes) {
      if (refused.has(scope)) grant.rejectResourceScope(resource, scope);
      else grant.addResourceScope(resource, scope);
    }
  }
  return { consent: { grantId: await grant.save() } };
}

const configuration = settings();

/** Plays the person: logs in and consents without showing a page. */
async function interact(provider, req, res) {
  try {
    const interaction = await provider.interactionDetails(req, res);
    const result = interaction.prompt.name === 'login'
      ? { login: { accountId: ACCOUNT } }
      : await consent(provider, interaction);
    await provider.interactionFinished(req, res, result);
  } catch (error) {
    console.error(error);
    res.writeHead(400, { 'content-type': 'text/plain' }).end(`${error.message}\n`);
  }
}

// A certificate is asked for but never demanded in the handshake: the browser has none,
// and a wrong one has to be answered in OAuth, for the client it claims to be.
const server = createServer({
  cert: readFileSync(config.tls.certificate),
  key: readFileSync(config.tls.key),
  ca: readFileSync(config.client_ca),
  requestCert: true,
  rejectUnauthorized: false,
});
server.on('connection', () => { counts.connections += 1; });

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `https://127.0.0.1:${port}`;
  const provider = new Provider(issuer, configuration);
  if (config.actor_key) exchangesTokens(provider);
  // Many mistakes get the same answer; error_detail tells the tests' reader which it was.
  for (const event of ['authorization.error', 'grant.error', 'revocation.error', 'introspection.error']) {
    provider.on(event, (_ctx, error) => {
      console.error(`${event}: ${error.message}: ${error.error_detail ?? error.error_description ?? ''}`);
    });
  }
  provider.on('server_error', (_ctx, error) => console.error(error));

  const answer = provider.callback();
  const resource = resourceServer(issuer, key);
  server.on('request', (req, res) => {
    const { pathname } = new URL(req.url, issuer);
    const name = req.method === 'POST' && counted.get(pathname);
    if (name) counts[name] += 1;
    if (pathname.startsWith('/interaction/')) interact(provider, req, res);
    else if (pathname.startsWith('/api/')) resource(req, res);
    else answer(req, res);
  });
  console.log(JSON.stringify({ issuer, port }));
});

createInterface({ input: process.stdin })
  .on('line', (line) => { if (line.trim() === 'counts') console.log(JSON.stringify(counts)); })
  .on('close', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
