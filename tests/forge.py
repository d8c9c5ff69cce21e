"""A forger of tokens: keys made once per process, any header, claims or raw bytes, and an issuer that vouches for them.

Vectors (tests/vectors/*.json) state declaratively what differs from a good token; `make` carries it out. An entry has
`name` and either `reason` (the expected refusal) or `accepted`, and any of:
key         who signs, a name in `Base.keys`; else `Base.key`
alg         what to sign with; the key's own unless given. `none` leaves the signature empty; `HS256/pem` and
            `HS256/der` use the signer's public key as a shared secret
header, claims                members to set; a member that is one of the forms of `_value` is worked out
header_insert, claims_insert  JSON text put in front of the first member, for keys that occur twice
header_text, claims_text      JSON text (or what is no JSON) in place of the whole
text        edits of the finished token, in order: see `_EDITS`
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from chalicelib.tokens.jwk import thumbprint

VECTORS = Path(__file__).resolve().parent / "vectors"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SIGNERS = jwt.algorithms.get_default_algorithms()


@dataclass(frozen=True)
class Key:
    """A private key under a kid. algorithm: RS256 or ES256."""

    kid: str
    algorithm: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def jwk(self) -> dict[str, str]:
        """The public half, as an issuer publishes it."""
        public = self.private.public_key()
        whole = RSAAlgorithm.to_jwk(public) if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(public)
        members = {
            name: value for name, value in json.loads(whole).items() if name in ("kty", "n", "e", "crv", "x", "y")
        }
        return {**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, signing_input: bytes, algorithm: str) -> bytes:
        """Sign with any algorithm, fitting or not."""
        if algorithm == "none":
            return b""
        if algorithm.startswith("HS256/"):
            form = (Encoding.PEM if algorithm.endswith("pem") else Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return _SIGNERS["HS256"].sign(signing_input, self.private.public_key().public_bytes(*form))
        signature: bytes = _SIGNERS[algorithm].sign(signing_input, self.private)
        return signature


@functools.cache
def rsa_key(kid: str) -> Key:
    """Return the RSA key of 2048 bits under this kid, made at its first use."""
    return Key(kid, "RS256", rsa.generate_private_key(65537, 2048))


@functools.cache
def ec_key(kid: str) -> Key:
    """Return the P-256 key under this kid, made at its first use."""
    return Key(kid, "ES256", ec.generate_private_key(ec.SECP256R1()))


def signing_key(path: Path) -> Key:
    """Read a broker's own signing key, whose kid is its thumbprint."""
    private = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return Key(thumbprint(Key("", "ES256", private).jwk), "ES256", private)


def b64(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    """Decode base64url without padding."""
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified."""
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def seal(header: bytes, payload: bytes, key: Key, algorithm: str | None = None) -> str:
    """Sign raw bytes, whatever they are."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(key.sign(signing_input.encode(), algorithm or key.algorithm))}"


def token(key: Key, claims: Mapping[str, object], **header: object) -> str:
    """Sign claims under the key's own header, with these members set."""
    return seal(_json({"alg": key.algorithm, "kid": key.kid, **header}), _json(claims), key)


def twin(text: str) -> str:
    """Return the other ES256 signature of the same content: (r, n - s) verifies wherever (r, s) does."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signing_input, _, signature = text.rpartition(".")
    raw = decode(signature)
    return f"{signing_input}.{b64(raw[:32] + (order - int.from_bytes(raw[32:], 'big')).to_bytes(32, 'big'))}"


@dataclass(frozen=True)
class Base:
    """A good token, before it is spoiled. now: epoch seconds. key: who signs it, a name in keys."""

    keys: Mapping[str, Key]
    key: str
    claims: Mapping[str, Any]
    now: int
    header: Mapping[str, Any] = field(default_factory=dict)


def vectors(name: str) -> list[dict[str, Any]]:
    """Read a file of vectors."""
    entries: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())
    assert len({entry["name"] for entry in entries}) == len(entries), "names occur once"
    return entries


def make(entry: Mapping[str, Any], base: Base) -> str:
    """Make the token that a vector describes."""
    key = base.keys[entry.get("key", base.key)]
    header = _edited({"alg": key.algorithm, "kid": key.kid, **base.header}, entry.get("header", {}), base.now)
    claims = _edited(base.claims, entry.get("claims", {}), base.now)
    texts = [
        entry.get("header_text", "{" + entry.get("header_insert", "") + _json(header).decode()[1:]),
        entry.get("claims_text", "{" + entry.get("claims_insert", "") + _json(claims).decode()[1:]),
    ]
    text = seal(texts[0].encode(), texts[1].encode(), key, entry.get("alg"))
    for edit, *arguments in entry.get("text", ()):
        text = _EDITS[edit](text, *arguments)
    return text


def _edited(members: Mapping[str, Any], edits: Mapping[str, Any], now: int) -> dict[str, Any]:
    worked_out = {name: _value(edit, members.get(name), now) for name, edit in edits.items()}
    return {name: one for name, one in (dict(members) | worked_out).items() if one is not _DROPPED}


_DROPPED = object()
# What `json.dumps` will not write: lists nested too deep for it, and a number too long for it.
_TOO_MUCH: Mapping[re.Pattern[str], Callable[[re.Match[str]], str]] = {
    re.compile(r'"\$nested (\d+)"'): lambda found: "[" * int(found[1]) + "]" * int(found[1]),
    re.compile(r'"\$digits (\d+)"'): lambda found: "9" * int(found[1]),
}
_EACH: Mapping[str, Callable[[Any], object]] = {
    "bool": bool, "float": float, "text": str, "null": lambda _: None, "plus_one": lambda n: n + 1
}  # fmt: skip


def _value(edit: object, original: Any, now: int) -> object:  # noqa: ANN401  whatever the good token has there
    """Work out `{"$now": seconds}`, `{"$drop": true}` and so on; anything else is the value itself."""
    if not isinstance(edit, dict) or len(edit) != 1 or not (form := next(iter(edit))).startswith("$"):
        return edit
    argument = edit[form]
    forms: Mapping[str, Callable[[], object]] = {
        "$drop": lambda: _DROPPED,
        "$now": lambda: now + argument,
        "$now_as": lambda: _EACH[argument[0]](now + argument[1]),
        "$suffix": lambda: original + argument,
        "$in_list_with": lambda: [original, *argument],
        "$repeat": lambda: argument[0] * argument[1],
        "$nested": lambda: f"$nested {argument}",
        "$digits": lambda: f"$digits {argument}",
        "$each": lambda: [_EACH[argument](one) for one in original],
        "$cut": lambda: original[:argument],
        "$last": lambda: [*original[:-1], argument],
        "$with": lambda: [*original, *argument],
    }
    return forms[form]()


def _segment(text: str, index: int, change: Callable[[str], str]) -> str:
    segments = text.split(".")
    segments[index] = change(segments[index])
    return ".".join(segments)


def respell(segment: str) -> str:
    """Return another spelling of the same bytes: the last character's unused bits set."""
    assert len(segment) % 4, "no unused bits"
    return segment[:-1] + ALPHABET[ALPHABET.index(segment[-1]) + 1]


_EDITS: Mapping[str, Callable[..., str]] = {
    "append": lambda text, more: text + more,
    "prepend": lambda text, more: more + text,
    "insert": lambda text, index, at, more: _segment(text, index, lambda one: one[:at] + more + one[at:]),
    "replace": lambda text, index, other: _segment(text, index, lambda _: other),
    "respell": lambda text, index: _segment(text, index, respell),
    "pad": lambda text, index: _segment(text, index, lambda one: one + "=" * (-len(one) % 4)),
    "standard_alphabet": lambda text: text.replace("-", "+").replace("_", "/"),
    "without_last_segment": lambda text: text.rpartition(".")[0],
    "twin": twin,
}


def _json(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"))
    for pattern, written in _TOO_MUCH.items():
        text = pattern.sub(written, text)
    return text.encode()


@contextlib.contextmanager
def issuer(jwks: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Serve discovery and these keys on a free loopback port; yield the issuer's URL."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            documents = {
                "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/jwks"},
                "/jwks": {"keys": jwks},
            }
            body = _json(documents.get(self.path))
            self.send_response(200 if self.path in documents else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join(10)
