"""Glewlwyd, an authorization server that answers oddly, to test narrowgate against.

    server.py CONFIG.json

Sets a fresh server up, prints one JSON line {"issuer"} on stdout, answers each line with an authorization URL on
stdin with one line, the callback that the person's browser would be sent to, and ends when stdin closes.

CONFIG: folder (of its own), program_root (where its package lies), certificate, key, client_ca, client_id,
client_san_uri, redirect_uri, scopes, resource.
"""

import gzip
import http.client
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.parse

PERSON, PASSWORD = "ana", "correct-horse-battery"
ADMINISTRATOR = ("admin", "password")
PLUGIN = "oidc"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    def __init__(self, config):
        self.config = config
        self.folder = config["folder"]
        self.root = config["program_root"]
        self.port = free_port()
        self.origin = f"https://localhost:{self.port}"
        self.issuer = f"{self.origin}/api/{PLUGIN}"
        trust = ssl.create_default_context(cafile=config["server_ca"])
        self.trust = trust
        self.process = None

    def start(self):
        database = os.path.join(self.folder, "glewlwyd.db")
        script = os.path.join(self.root, "usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz")
        with gzip.open(script, "rt") as text, sqlite3.connect(database) as connection:
            connection.executescript(text.read())
        lib = os.path.join(self.root, "usr/lib/glewlwyd")
        empty = os.path.join(self.folder, "none")
        os.mkdir(empty)
        settings = {
            "port": self.port,
            "bind_address": "127.0.0.1",
            "external_url": self.origin,
            "login_url": "login.html",
            "api_prefix": "api",
            "cookie_domain": "localhost",
            "cookie_secure": 1,
            "log_mode": "console",
            "log_level": "WARNING",
            "session_expiration": 3600,
            "session_key": "GLEWLWYD2_SESSION_ID",
            "admin_scope": "g_admin",
            "profile_scope": "g_profile",
            "user_module_path": f"{lib}/user",
            "user_middleware_module_path": empty,
            "client_module_path": f"{lib}/client",
            "user_auth_scheme_module_path": f"{lib}/scheme",
            "plugin_module_path": f"{lib}/plugin",
            "use_secure_connection": True,
            "secure_connection_key_file": self.config["key"],
            "secure_connection_pem_file": self.config["certificate"],
            "secure_connection_ca_file": self.config["client_ca"],
            "hash_algorithm": "SHA512",
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        lines.append(f'database = {{ type = "sqlite3", path = {json.dumps(database)} }};')
        path = os.path.join(self.folder, "glewlwyd.conf")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        machine = os.uname().machine
        libraries = [os.path.join(self.root, "usr/lib", f"{machine}-linux-gnu"), os.path.join(self.root, "usr/lib")]
        self.process = subprocess.Popen(
            [os.path.join(self.root, "usr/bin/glewlwyd"), "--config-file", path],
            env={"LD_LIBRARY_PATH": ":".join(libraries), "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("glewlwyd did not start")
                time.sleep(0.05)

    def request(self, cookie, method, path, body=None):
        """One request of a browser that has at most one cookie: the answer's status, headers and body."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=10)
        headers = {"Cookie": cookie} if cookie else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def call(self, cookie, method, path, body):
        status, headers, text = self.request(cookie, method, f"/api/{path}", body)
        if status != 200:
            raise SystemExit(f"{method} {path}: {status} {text}")
        return headers

    def login(self, username, password):
        headers = self.call(None, "POST", "auth/", {"username": username, "password": password})
        return headers["Set-Cookie"].split(";")[0]

    def set_up(self):
        admin = self.login(*ADMINISTRATOR)
        scopes = self.config["scopes"]
        for scope in scopes:
            self.call(admin, "POST", "scope/", {
                "name": scope, "display_name": scope, "description": scope, "password_required": True,
                "password_max_age": 0, "scheme": {},
            })
        self.call(admin, "POST", "user/?source=database", {
            "username": PERSON, "password": PASSWORD, "name": "Ana", "enabled": True, "scope": ["openid", *scopes],
        })
        self.call(admin, "POST", "client/?source=database", {
            "client_id": self.config["client_id"], "name": "narrowgate", "confidential": True, "enabled": True,
            "redirect_uri": [self.config["redirect_uri"]], "scope": [],
            "authorization_type": ["code", "refresh_token", "delete_token"],
            "token_endpoint_auth_method": ["tls_client_auth"],
            "tls_client_auth_san_uri": self.config["client_san_uri"],
            "resource": [self.config["resource"]],
        })
        self.call(admin, "POST", "mod/plugin/", {
            "module": "oidc", "name": PLUGIN, "display_name": "OpenID Connect", "parameters": self.plugin(),
        })

    def plugin(self):
        def key(*words):
            return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True).stdout

        private = key("ecparam", "-genkey", "-name", "prime256v1", "-noout")
        public = subprocess.run(["openssl", "ec", "-pubout"], input=private, check=True, capture_output=True, text=True)
        return {
            "iss": self.issuer, "jwt-type": "ecdsa", "jwt-key-size": "256", "key": private, "cert": public.stdout,
            "access-token-duration": 3600, "refresh-token-duration": 7200, "code-duration": 600,
            "refresh-token-rolling": False, "refresh-token-one-use": "always",
            "allow-non-oidc": True, "auth-type-code-enabled": True, "auth-type-code-revoke-replayed": True,
            "auth-type-token-enabled": False, "auth-type-id-token-enabled": True, "auth-type-none-enabled": False,
            "auth-type-password-enabled": False, "auth-type-client-enabled": False,
            "auth-type-refresh-enabled": True, "auth-type-device-enabled": False,
            "pkce-allowed": True, "pkce-required": True, "pkce-method-plain-allowed": False,
            "introspection-revocation-allowed": True, "introspection-revocation-allow-target-client": True,
            "client-cert-source": "TLS", "client-cert-self-signed-allowed": False,
            "client-cert-use-endpoint-aliases": False,
            "oauth-as-iss-id": True, "resource-allowed": True, "resource-client-property": "resource",
            "resource-change-allowed": False, "jwks-show": True, "subject-type": "public",
            "allowed-scope": ["openid", *self.config["scopes"]], "scope": [],
        }

    def browse(self, authorization_url):
        """What the person does: logs in, consents, and is sent back."""
        person = self.login(PERSON, PASSWORD)
        url = urllib.parse.urlsplit(authorization_url)
        scope = urllib.parse.parse_qs(url.query)["scope"][0]
        self.call(person, "PUT", f"auth/grant/{self.config['client_id']}", {"scope": scope})
        status, headers, text = self.request(person, "GET", f"{url.path}?{url.query}&g_continue")
        if status not in (301, 302, 303):
            raise SystemExit(f"the person was not sent back: {status} {text}")
        return headers["Location"]


def main():
    with open(sys.argv[1]) as file:
        server = Server(json.load(file))
    try:
        server.start()
        server.set_up()
        print(json.dumps({"issuer": server.issuer}), flush=True)
        for line in sys.stdin:
            print(server.browse(line.strip()), flush=True)
    finally:
        if server.process:
            server.process.terminate()
            server.process.wait()


main()
