#!/usr/bin/env node
// A stock grpc-js client of narrowgate's agent API: one call, one JSON object on standard output.
//
// The same usage, output and exit codes as ../python/agent.py, so that one test can drive both: 0 for an answer and for
// a refusal alike, 2 for a usage error, 1 for anything the API promises not to do.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../../proto', import.meta.url));
const SERVICE_METHODS = ['BeginAuthorization', 'RedeemCode', 'GetToken', 'RevokeGrant'];
const USAGE = 'usage: agent.mjs --target T [--authority A | --no-authority] [--ca F --cert F --key F] '
  + `[--metadata K=V ...] [--timeout SECONDS] ${SERVICE_METHODS.join('|')}|Health JSON`;
const LOADING = { keepCase: true, enums: String, longs: String };

class Usage extends Error {}

// The messages of googleapis and of gRPC health checking that this client reads. proto-loader brings neither, and to
// write them down is shorter than to bring a package for each.
const field = (id, type, more) => ({ id, type, ...more });
const KNOWN = protoLoader.fromJSON({ nested: {
  google: { nested: { rpc: { nested: {
    Any: { fields: { type_url: field(1, 'string'), value: field(2, 'bytes') } },
    Status: { fields: { code: field(1, 'int32'), message: field(2, 'string'),
      details: field(3, 'Any', { rule: 'repeated' }) } },
    ErrorInfo: { fields: { reason: field(1, 'string'), domain: field(2, 'string'),
      metadata: field(3, 'string', { keyType: 'string' }) } },
    BadRequest: { fields: { field_violations: field(1, 'FieldViolation', { rule: 'repeated' }) } },
    FieldViolation: { fields: { field: field(1, 'string'), description: field(2, 'string'),
      reason: field(3, 'string') } },
    RetryInfo: { fields: { retry_delay: field(1, 'Duration') } },
    Duration: { fields: { seconds: field(1, 'int64'), nanos: field(2, 'int32') } },
  } } } },
  grpc: { nested: { health: { nested: { v1: { nested: {
    HealthCheckRequest: { fields: { service: field(1, 'string') } },
    HealthCheckResponse: { fields: { status: field(1, 'ServingStatus') },
      nested: { ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } } },
    Health: { methods: { Check: { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse' } } },
  } } } } } },
} }, LOADING);
const rpc = (name, bytes) => KNOWN[`google.rpc.${name}`].deserialize(bytes);

function options(argv) {
  let parsed;
  try {
    const text = { type: 'string' };
    parsed = parseArgs({ args: argv, allowPositionals: true, options: {
      target: text, authority: text, 'no-authority': { type: 'boolean' }, ca: text, cert: text, key: text,
      metadata: { type: 'string', multiple: true, default: [] }, timeout: { type: 'string', default: '10' },
    } });
  } catch (error) {
    throw new Usage(error.message);
  }
  const { values, positionals } = parsed;
  const refuse = (when, why) => { if (when) throw new Usage(why); };
  refuse(!values.target || positionals.length !== 2, '--target, METHOD and JSON are needed');
  refuse(![...SERVICE_METHODS, 'Health'].includes(positionals[0]), `unknown method ${positionals[0]}`);
  refuse(values.authority && values['no-authority'], '--authority and --no-authority exclude each other');
  refuse((values.cert || values.key) && !(values.ca && values.cert && values.key), 'mTLS needs --ca, --cert and --key');
  refuse(values.ca && values.target.startsWith('unix:'), 'TLS is for TCP targets');
  refuse(values.metadata.some((pair) => !pair.includes('=')), '--metadata takes K=V');
  refuse(!(Number(values.timeout) > 0), '--timeout takes seconds');
  return { ...values, method: positionals[0], json: positionals[1] };
}

function methodOf(name) {
  if (name === 'Health') return [KNOWN, KNOWN['grpc.health.v1.Health'].Check];
  const types = protoLoader.loadSync('narrowgate/v1/token.proto', { ...LOADING, includeDirs: [PROTO] });
  return [types, types['narrowgate.v1.TokenService'][name]];
}

// protobufjs knows no proto3 JSON: it drops unknown fields in silence and shows well-known types as plain messages.
// The two functions below do what google.protobuf.json_format does, for the types that the API uses.

const typeOf = (types, name) => types[name] ?? types[`narrowgate.v1.${name}`] ?? types[`grpc.health.v1.${name}`];
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function toMessage(types, type, json, path = '') {
  if (json === null || typeof json !== 'object' || Array.isArray(json)) throw new Usage(`${path || 'JSON'}: no object`);
  const message = {};
  for (const [key, value] of Object.entries(json)) {
    const spec = type.type.field.find((f) => f.name === key || camel(f.name) === key);
    if (!spec) throw new Usage(`${path}${key}: no such field`);
    if (value === null) continue; // proto3 JSON: null is "not set".
    const repeated = spec.label === 'LABEL_REPEATED';
    if (repeated !== Array.isArray(value)) throw new Usage(`${path}${key}: ${repeated ? '' : 'no '}list expected`);
    message[spec.name] = repeated ? value.map((v) => toValue(types, spec, v, path + key))
      : toValue(types, spec, value, path + key);
  }
  return message;
}

function toValue(types, spec, value, path) {
  if (spec.typeName === 'google.protobuf.Duration') {
    const [, sign, seconds, fraction = ''] = /^(-?)(\d+)(?:\.(\d{1,9}))?s$/.exec(value) ?? [];
    if (seconds === undefined) throw new Usage(`${path}: a duration such as "1.5s" expected`);
    return { seconds: sign + seconds, nanos: Number(sign + fraction.padEnd(9, '0')) };
  }
  if (spec.type === 'TYPE_MESSAGE') return toMessage(types, typeOf(types, spec.typeName), value, `${path}.`);
  const wanted = { TYPE_STRING: 'string', TYPE_BOOL: 'boolean' }[spec.type];
  if (typeof value !== wanted) throw new Usage(`${path}: ${wanted ?? `${spec.type} (not supported here)`} expected`);
  return value;
}

function toJson(types, type, message) {
  return Object.fromEntries(Object.entries(message).map(([key, value]) => {
    const spec = type.type.field.find((f) => f.name === key);
    const one = (v) => {
      if (spec.typeName === 'google.protobuf.Timestamp') return rfc3339(v);
      if (spec.typeName === 'google.protobuf.Duration') return `${Number(v.seconds ?? 0) + (v.nanos ?? 0) / 1e9}s`;
      return spec.type === 'TYPE_MESSAGE' ? toJson(types, typeOf(types, spec.typeName), v) : v;
    };
    return [key, Array.isArray(value) ? value.map(one) : one(value)];
  }));
}

function rfc3339({ seconds = 0, nanos = 0 }) {
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const digits = String(nanos).padStart(9, '0').replace(/(000)+$/, ''); // 0, 3, 6 or 9 digits, as json_format writes.
  return digits ? `${whole}.${digits}Z` : `${whole}Z`;
}

function clientFor(given) {
  // A proxy variable of the machine that runs the tests must not decide where they go.
  const settings = { 'grpc.enable_http_proxy': 0 };
  // Unlike grpcio, grpc-js says "localhost" on a Unix socket by itself: --no-authority changes nothing there.
  if (given.authority) settings['grpc.default_authority'] = given.authority;
  const [ca, key, cert] = [given.ca, given.key, given.cert].map((path) => {
    try {
      return path ? readFileSync(path) : null;
    } catch (error) {
      throw new Usage(error.message);
    }
  });
  const credentials = ca ? grpc.credentials.createSsl(ca, key, cert) : grpc.credentials.createInsecure();
  return new grpc.Client(given.target, credentials, settings);
}

function call(client, method, request, given) {
  const metadata = new grpc.Metadata();
  for (const pair of given.metadata) {
    const at = pair.indexOf('=');
    metadata.add(pair.slice(0, at), pair.slice(at + 1));
  }
  const within = { deadline: Date.now() + Number(given.timeout) * 1000 };
  return new Promise((resolve) => {
    client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, metadata, within,
      (error, answer) => resolve([error, answer]));
  });
}

// The google.rpc.Status of a failed call. Like grpcio it does not put up with one that contradicts the plain status.
function refusal(error) {
  const found = { status: grpc.status[error.code], message: error.details, reason: null, domain: null, metadata: {},
    details: [], field_violations: [], retry_delay_s: null, advice: null };
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (!bytes) return found;
  const status = rpc('Status', bytes);
  if ((status.code ?? 0) !== error.code || (status.message ?? '') !== error.details) {
    throw new Error('grpc-status-details-bin contradicts grpc-status or grpc-message');
  }
  for (const { type_url = '', value = Buffer.alloc(0) } of status.details ?? []) {
    const kind = type_url.slice(type_url.lastIndexOf('/') + 1);
    found.details.push(kind);
    if (kind === 'google.rpc.ErrorInfo') {
      const { reason = '', domain = '', metadata = {} } = rpc('ErrorInfo', value);
      Object.assign(found, { reason, domain, metadata });
    } else if (kind === 'google.rpc.BadRequest') {
      found.field_violations.push(...rpc('BadRequest', value).field_violations ?? []);
    } else if (kind === 'google.rpc.RetryInfo') {
      const { seconds = 0, nanos = 0 } = rpc('RetryInfo', value).retry_delay ?? {};
      found.retry_delay_s = Number(seconds) + nanos / 1e9;
    } else if (kind === 'narrowgate.v1.Advice') {
      const types = protoLoader.loadSync('narrowgate/v1/errors.proto', { ...LOADING, includeDirs: [PROTO] });
      found.advice = toJson(types, types[kind], types[kind].deserialize(value));
    }
  }
  return found;
}

async function main(argv) {
  const given = options(argv);
  const [types, method] = methodOf(given.method);
  let json;
  try {
    json = JSON.parse(given.json === '-' ? readFileSync(0, 'utf8') : given.json);
  } catch (error) {
    throw new Usage(`JSON: ${error.message}`);
  }
  const request = toMessage(types, method.requestType, json);
  const client = clientFor(given);
  const [error, answer] = await call(client, method, request, given);
  client.close();
  const result = error ? { error: refusal(error) } : { ok: toJson(types, method.responseType, answer) };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof Usage;
  process.stderr.write(usage ? `${USAGE}\nagent.mjs: ${error.message}\n` : `${error.stack}\n`);
  process.exitCode = usage ? 2 : 1;
}
