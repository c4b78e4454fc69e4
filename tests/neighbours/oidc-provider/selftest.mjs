// Tests the neighbour itself: node selftest.mjs prints "selftest ok".
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'oidc-provider-selftest-'));
const at = (name) => join(dir, name);
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

const RESOURCE = 'https://crm.example.test/api';
const CALLBACK = 'https://agent.example.test/callback';
const sha256 = (data) => createHash('sha256').update(data).digest('base64url');
const claims = (jwt, part = 1) => JSON.parse(Buffer.from(jwt.split('.')[part], 'base64url'));

/** Makes NAME.pem and NAME.key; without an issuer the certificate is self-signed. */
function certificate(name, { subject = `/CN=${name}`, issuer, extensions = [] }) {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', subject, '-keyout', at(`${name}.key`), '-out', at(`${name}.pem`),
    ...(issuer ? ['-CA', at(`${issuer}.pem`), '-CAkey', at(`${issuer}.key`)] : []),
    ...extensions.flatMap((extension) => ['-addext', extension]),
  ], { stdio: ['ignore', 'ignore', 'pipe'] });
}

const leaf = (san, usage) => ['basicConstraints=critical,CA:false', `subjectAltName=${san}`, `extendedKeyUsage=${usage}`];
const agent = (name) => leaf(`URI:spiffe://example.test/agent/${name}`, 'clientAuth');
certificate('ca', {});
certificate('other-ca', {});
certificate('server', { issuer: 'ca', extensions: leaf('IP:127.0.0.1,DNS:localhost', 'serverAuth') });
certificate('bearer', { issuer: 'ca', extensions: agent('bearer') });
certificate('bound', { issuer: 'ca', extensions: agent('bound') });
certificate('named', { issuer: 'ca', subject: '/O=Example, Inc./CN=named', extensions: agent('named') });
certificate('rogue', { issuer: 'other-ca', extensions: agent('bearer') });
certificate('selfsigned', { extensions: agent('selfsigned') });

function client(name, more) {
  return {
    client_id: name,
    auth: 'tls_client_auth',
    subject: { tls_client_auth_san_uri: `spiffe://example.test/agent/${name}` },
    bound: false,
    redirect_uris: [CALLBACK],
    ...more,
  };
}

function selfSignedKeys(name) {
  const { publicKey, raw } = new X509Certificate(readFileSync(at(`${name}.pem`)));
  return { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: name, x5c: [raw.toString('base64')] }] };
}

writeFileSync(at('config.json'), JSON.stringify({
  tls: { certificate: at('server.pem'), key: at('server.key') },
  client_ca: at('ca.pem'),
  clients: [
    client('bearer'),
    client('bound', { bound: true }),
    client('named', { subject: { tls_client_auth_subject_dn: 'CN=named,O=Example\\, Inc.' } }),
    client('selfsigned', { auth: 'self_signed_tls_client_auth', subject: {}, jwks: selfSignedKeys('selfsigned') }),
    client('norefresh', {
      subject: { tls_client_auth_san_uri: 'spiffe://example.test/agent/bearer' },
      grant_types: ['authorization_code'],
    }),
  ],
  resources: [{ identifier: RESOURCE, scopes: ['customers.read', 'customers.write', 'customers.delete'] }],
  refuse_scopes: ['customers.delete'],
}));

const server = spawn(process.execPath, [join(here, 'server.mjs'), at('config.json')], { stdio: ['pipe', 'pipe', 'pipe'] });
const log = text(server.stderr);
const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
const nextLine = async () => {
  const { value, done } = await lines.next();
  if (done) throw new Error(`the server ended:\n${await log}`);
  return JSON.parse(value);
};
const { issuer, port } = await nextLine();
assert.equal(issuer, `https://127.0.0.1:${port}`);

/** GET, or POST of a form; `identity` names the client certificate. */
async function call(url, form, identity) {
  const response = await new Promise((resolve, reject) => {
    request(url, {
      method: form ? 'POST' : 'GET',
      headers: form ? { 'content-type': 'application/x-www-form-urlencoded' } : {},
      ca: readFileSync(at('ca.pem')),
      ...(identity && { cert: readFileSync(at(`${identity}.pem`)), key: readFileSync(at(`${identity}.key`)) }),
      agent: false,
    }, resolve).on('error', reject).end(form && new URLSearchParams(form).toString());
  });
  const body = await text(response);
  return { status: response.statusCode, body: body && JSON.parse(body) };
}

const { body: metadata } = await call(`${issuer}/.well-known/openid-configuration`);
assert.equal(metadata.issuer, issuer);
assert.equal(metadata.authorization_response_iss_parameter_supported, true);
assert.deepEqual(metadata.code_challenge_methods_supported, ['S256']);

async function browse(parameters) {
  const url = `${metadata.authorization_endpoint}?${new URLSearchParams(parameters)}`;
  const arguments_ = [join(here, 'browser.mjs'), at('ca.pem'), url, CALLBACK];
  const { stdout } = await promisify(execFile)(process.execPath, arguments_);
  return Object.fromEntries(new URL(stdout.trim()).searchParams);
}

/** Sends the person through the browser; answers the form that redeems the code. */
async function authorize(clientId, scope) {
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const parameters = {
    client_id: clientId, response_type: 'code', redirect_uri: CALLBACK, scope, resource: RESOURCE, state,
    code_challenge: sha256(verifier), code_challenge_method: 'S256',
  };
  const { code, ...rest } = await browse(parameters);
  assert.deepEqual(rest, { state, iss: issuer });
  return {
    grant_type: 'authorization_code', client_id: clientId, code, redirect_uri: CALLBACK,
    code_verifier: verifier, resource: RESOURCE,
  };
}

async function redeem(clientId, scope = 'customers.read customers.write', identity = clientId) {
  const form = await authorize(clientId, scope);
  const { status, body } = await call(metadata.token_endpoint, form, identity);
  assert.equal(status, 200, JSON.stringify(body));
  return { form, body, token: claims(body.access_token) };
}

const thumbprint = (name) => sha256(new X509Certificate(readFileSync(at(`${name}.pem`))).raw);
const refusal = ({ status, body }) => [status, body.error];

const bearer = await redeem('bearer');
if (process.argv.includes('--show')) {
  const { access_token: token } = bearer.body;
  console.log(JSON.stringify({ metadata, answer: bearer.body, header: claims(token, 0), claims: claims(token) }, null, 1));
}
assert.equal(bearer.body.token_type, 'Bearer');
assert.equal(bearer.body.expires_in, 3600);
assert.equal(bearer.token.aud, RESOURCE);
assert.equal(bearer.token.scope, 'customers.read customers.write');
assert.equal(bearer.token.sub, 'ana');
assert.equal(bearer.token.cnf, undefined);

const bound = await redeem('bound');
assert.deepEqual(bound.token.cnf, { 'x5t#S256': thumbprint('bound') });
await redeem('named');
await redeem('selfsigned');
assert.equal((await redeem('norefresh', 'customers.read', 'bearer')).body.refresh_token, undefined);

const refused = await redeem('bearer', 'customers.read customers.delete');
assert.equal(refused.body.scope, 'customers.read');
assert.equal(refused.token.scope, 'customers.read');

// A rogue, another agent's and no certificate: one and the same answer, the code stays good.
const form = await authorize('bearer', 'customers.read');
for (const identity of ['rogue', 'bound', undefined]) {
  assert.deepEqual(refusal(await call(metadata.token_endpoint, form, identity)), [401, 'invalid_client']);
}
const wrongVerifier = { ...form, code_verifier: 'x'.repeat(43) };
assert.deepEqual(refusal(await call(metadata.token_endpoint, wrongVerifier, 'bearer')), [400, 'invalid_grant']);
const redeemed = await call(metadata.token_endpoint, form, 'bearer');
assert.equal(redeemed.status, 200);

const refresh = ({ refresh_token }) => ({ grant_type: 'refresh_token', client_id: 'bearer', refresh_token, resource: RESOURCE });
const refreshed = await call(metadata.token_endpoint, refresh(redeemed.body), 'bearer');
assert.equal(refreshed.status, 200);
assert.notEqual(refreshed.body.refresh_token, redeemed.body.refresh_token);

const revocation = { client_id: 'bearer', token: refreshed.body.refresh_token, token_type_hint: 'refresh_token' };
assert.deepEqual(await call(metadata.revocation_endpoint, revocation, 'bearer'), { status: 200, body: '' });
assert.deepEqual(refusal(await call(metadata.token_endpoint, refresh(refreshed.body), 'bearer')), [400, 'invalid_grant']);

// A replayed code takes the tokens it once gave with it.
assert.deepEqual(refusal(await call(metadata.token_endpoint, bearer.form, 'bearer')), [400, 'invalid_grant']);
assert.deepEqual(refusal(await call(metadata.token_endpoint, refresh(bearer.body), 'bearer')), [400, 'invalid_grant']);

await assert.rejects(
  browse({ client_id: 'bearer', redirect_uri: 'https://elsewhere.example.test/' }),
  ({ code, stderr }) => code === 1 && stderr.startsWith('400 '),
);
const { error } = await browse({ client_id: 'bearer', redirect_uri: CALLBACK, response_type: 'code', scope: 'openid' });
assert.equal(error, 'invalid_request', 'PKCE is required');

server.stdin.write('counts\n');
const counts = await nextLine();
assert.deepEqual([counts.token, counts.revocation], [15, 1]);
assert.ok(counts.connections > counts.token);

server.stdin.end();
assert.deepEqual(await once(server, 'exit'), [0, null]);
console.log('selftest ok');
