"""An OpenID provider over real HTTP on loopback: discovery, keys, sign-in and tokens.

`with OidcServer() as server:` signs in `server.user` at once, whoever comes with a registered client. It checks what
real ones check: the client, its secret, the redirect URI, PKCE and that a code is used once. `server.tells` changes its
configuration, `server.claims` its ID tokens; `server.is_silent` makes it say nothing, `server.size` much.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from kb.oidc.settings import OidcProvider

CLIENT_ID, CLIENT_SECRET = "zhiwen", "very secret: +/%"
CODE_SECONDS = 60.0
# Beside its own: of a kind, and of a curve, that nobody knows, and one without a member.
UNKNOWN_KEYS = {"kty": "moon"}, {"kty": "EC", "kid": "e-1", "crv": "P-9", "x": "AA", "y": "AA"}, {"kty": "RSA"}


@cache  # they take a while
def new_key(name: str, purpose: str = "") -> RSAKey:
    """The same for the same arguments."""
    return RSAKey.generate_key(2048, parameters={"kid": name, "use": "sig"})


class OidcServer:
    def __init__(self) -> None:
        self.user: dict[str, Any] = {"sub": "u-1", "name": "Ada", "email": "ada@corp.example"}
        self.tells: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.error = ""  # what the sign-in ends with, in place of a code
        self.is_silent = False
        self.size = 0
        self.requests: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.key = self.signing_key = new_key("k-1")
        self.ended = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def provider(self, **values: Any) -> OidcProvider:
        """As Zhiwen is told of it."""
        known: dict[str, Any] = {"key": "corp", "name": "Corp", "issuer": self.url, "client_id": CLIENT_ID}
        return OidcProvider(**known | {"client_secret": SecretStr(CLIENT_SECRET)} | values)

    def __enter__(self) -> OidcServer:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    # --- its endpoints ---

    def configuration(self) -> dict[str, Any]:
        endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": self.url} | {name: self.url + path for name, path in endpoints.items()} | self.tells

    def sign_in(self, query: dict[str, str]) -> str:
        """Where the browser goes."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        answer = {"state": query["state"], "iss": self.url}
        if self.error:
            return f"{query['redirect_uri']}?{urlencode(answer | {'error': self.error})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query | {"at": str(time.time())}
        return f"{query['redirect_uri']}?{urlencode(answer | {'code': code})}"

    def tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if not _is_client(form, authorization):
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form["code"], None)
        if begun is None or time.time() - float(begun["at"]) > CODE_SECONDS:
            return 400, {"error": "invalid_grant", "error_description": f"the code {form['code']} has expired"}
        challenge = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if challenge != begun["code_challenge"] or form["redirect_uri"] != begun["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        moment = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": moment, "exp": moment + 300, "nonce": begun["nonce"]}
        claims |= self.user | self.claims
        told = {name: value for name, value in claims.items() if value is not None}
        id_token = jwt.encode({"alg": "RS256", "kid": self.signing_key.kid}, told, self.signing_key)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": id_token}


def _is_client(form: dict[str, str], authorization: str) -> bool:
    """Its id and its secret, in the header or in the body."""
    if authorization:
        return b64decode(authorization.removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{CLIENT_SECRET}"
    return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def _handler(server: OidcServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if not self._begin(address.path):
                return
            if address.path == "/.well-known/openid-configuration":
                self._answer(200, server.configuration())
            elif address.path == "/keys":
                self._answer(200, {"keys": [server.key.as_dict(private=False), *UNKNOWN_KEYS]})
            elif address.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", server.sign_in(_flat(address.query)))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            form = _flat(self.rfile.read(int(self.headers["content-length"])).decode())
            if self._begin(self.path):
                self._answer(*server.tokens(form, self.headers.get("authorization", "")))

        def _begin(self, path: str) -> bool:
            server.requests.append(path)
            if server.is_silent:
                server.ended.wait()
            return not server.is_silent

        def _answer(self, status: int, told: dict[str, Any]) -> None:
            body = json.dumps(told).encode() + b" " * server.size
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_values: object) -> None:
            pass

    return Handler


def _flat(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
