// Plays the person's browser: follows the redirects of an authorization request.
//
//   node browser.mjs CA_PATH AUTHORIZATION_URL REDIRECT_PREFIX
//
// Prints the callback URL, which is not fetched, and exits 0; an OAuth error in it is
// the caller's to see. Prints status and title of any page on stderr and exits 1.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';

const [caPath, start, prefix] = process.argv.slice(2);
if (!prefix) {
  console.error('usage: node browser.mjs CA_PATH AUTHORIZATION_URL REDIRECT_PREFIX');
  process.exit(2);
}
const ca = readFileSync(caPath);
const origin = new URL(start).origin;

// By path and name: the provider has cookies of one name for each step's own path.
const jar = new Map();

function keep(setCookie, url) {
  const [pair, ...attributes] = setCookie.split(';').map((part) => part.trim());
  const cookie = { path: url.pathname.replace(/\/[^/]*$/, '') || '/', pair };
  let expires = Infinity;
  for (const attribute of attributes) {
    const [name, value] = attribute.split(/=(.*)/s);
    if (name.toLowerCase() === 'path') cookie.path = value;
    if (name.toLowerCase() === 'expires') expires = Date.parse(value);
  }
  const key = `${cookie.path} ${pair.split('=', 1)[0]}`;
  if (expires > Date.now()) jar.set(key, cookie);
  else jar.delete(key);
}

function cookiesFor({ pathname }) {
  return [...jar.values()]
    .filter(({ path }) => pathname === path || pathname.startsWith(path.replace(/\/?$/, '/')))
    .map(({ pair }) => pair)
    .join('; ');
}

function get(url) {
  // Without "accept: text/html" the provider answers errors in JSON.
  const headers = { accept: 'text/html', cookie: cookiesFor(url) };
  return new Promise((resolve, reject) => {
    request(url, { ca, headers, agent: false }, resolve).on('error', reject).end();
  });
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

let url = new URL(start);
for (let hops = 0; hops < 20; hops += 1) {
  if (url.origin !== origin) fail(`redirected to a foreign origin: ${url}`);
  const response = await get(url);
  const body = await text(response);
  for (const cookie of response.headers['set-cookie'] ?? []) keep(cookie, url);
  const { location } = response.headers;
  if (!location) {
    const title = body.match(/<title>([^<]*)/)?.[1] ?? body;
    const lines = [...body.matchAll(/<pre>(.*?)<\/pre>/gs)].map(([, line]) => line.replace(/<[^>]*>/g, ''));
    fail([`${response.statusCode} ${title.trim()}`, ...lines].join('\n'));
  }
  if (location.startsWith(prefix)) {
    console.log(location);
    process.exit(0);
  }
  url = new URL(location, url);
}
fail('too many redirects');
