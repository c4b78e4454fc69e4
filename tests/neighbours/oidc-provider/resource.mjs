// A resource server that takes nothing but DPoP-bound tokens (RFC 9449 section 7), judged by jose, which comes with
// oidc-provider.
import { createHash, createPublicKey, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';

const refusal = (error) => Object.assign(new Error(error), { error });

/** Answers requests to `issuer`/api/..., for tokens that are signed with `key`. */
export function resourceServer(issuer, key) {
  const seen = new Set();
  const nonce = `resource-${randomUUID()}`;

  async function judge(req) {
    const [scheme, token] = (req.headers.authorization ?? '').split(' ');
    if (scheme !== 'DPoP') throw refusal('invalid_token');
    const proofs = req.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'dpop');
    if (proofs.length !== 1) throw refusal('invalid_dpop_proof');
    const access = await jwtVerify(token, createPublicKey(key), { issuer, typ: 'at+jwt', algorithms: ['ES256'] });
    const proof = await jwtVerify(req.headers.dpop, EmbeddedJWK, {
      typ: 'dpop+jwt', algorithms: ['ES256'], maxTokenAge: '30s', clockTolerance: 5,
    });
    const { htm, htu, ath, jti } = proof.payload;
    const target = new URL(req.url, issuer);
    if (htm !== req.method || htu !== `${target.origin}${target.pathname}`) throw refusal('invalid_dpop_proof');
    if (ath !== createHash('sha256').update(token).digest('base64url')) throw refusal('invalid_dpop_proof');
    const jkt = await calculateJwkThumbprint(proof.protectedHeader.jwk);
    if (access.payload.cnf?.jkt !== jkt) throw refusal('invalid_token');
    if (proof.payload.nonce !== nonce) throw refusal('use_dpop_nonce');
    if (seen.has(jti)) throw refusal('invalid_dpop_proof');
    seen.add(jti);
    return { sub: access.payload.sub, scope: access.payload.scope };
  }

  return async (req, res) => {
    try {
      const body = JSON.stringify(await judge(req));
      res.writeHead(200, { 'content-type': 'application/json' }).end(body);
    } catch (error) {
      const name = error.error ?? 'invalid_dpop_proof';
      if (name !== 'use_dpop_nonce') console.error(`resource: ${name}: ${error.message}`);
      const headers = { 'www-authenticate': `DPoP error="${name}"` };
      if (name === 'use_dpop_nonce') headers['dpop-nonce'] = nonce;
      res.writeHead(401, headers).end();
    }
  };
}
