"""Parses a compact JWS strictly; nothing in it is verified yet (RFC 7515, RFC 8725)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib import strict_json
from chalicelib.strict_json import JsonError, Rule
from chalicelib.tokens.errors import InvalidTokenError

SIZE_LIMIT = 16 * 1024
"""Bytes of a token at most; Anthropic's SDK has the same limit."""
URL_LIMIT = 255
"""Characters of an issuer's URL at most."""
DEPTH_LIMIT = 16
"""Levels of JSON in a token at most, so that no later reader of the claims runs out of stack."""

SPIFFE = "spiffe://"
_HEADERS = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
# SECURITY: these would let the token choose its own key. Refused, never followed (vectors/subject_tokens.json).
_KEY_CARRIERS = frozenset({"jku", "x5u", "jwk", "x5c"})
_REASONS = {
    Rule.NAMES: "json_key_twice",
    Rule.NUMBERS: "json_constant",
    Rule.DEPTH: "json_too_deep",
    Rule.UNICODE: "json_not_text",
}
"""Broken rules that have a reason of their own; others are `header_not_json` or `claims_not_json`."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A parsed token. Nothing in it may be trusted until `tokens.verify` has made `Claims` of it."""

    text: str = field(repr=False)  # SECURITY: a token must not reach a log by way of a repr (test_canary.py)
    kid: str
    alg: str
    typ: str | None
    unverified_claims: Mapping[str, object]


def parse(text: str) -> Unverified:
    """Parse a token; raises InvalidTokenError with the rule that it breaks."""
    header, payload = split(text)
    claims = _object(payload, "claims_not_json")
    kid, alg, typ = header.get("kid"), header.get("alg"), header.get("typ")
    if not isinstance(kid, str) or not kid or len(kid) > 256:
        raise InvalidTokenError("kid_missing")
    if not isinstance(alg, str):
        raise InvalidTokenError("alg_missing")
    if typ is not None and not isinstance(typ, str):
        raise InvalidTokenError("typ_malformed")
    return Unverified(text, kid, alg, typ, claims)


def unverified_issuer(unverified_claims: Mapping[str, object]) -> str | None:
    """Return the issuer that the claims name: their `iss`, or without one the trust domain of a SPIFFE id.

    JWT-SVIDs need no `iss` (SPIFFE JWT-SVID section 3); their `sub` is `spiffe://<trust domain>/<path>`.
    """
    url, subject = unverified_claims.get("iss"), unverified_claims.get("sub")
    if "iss" not in unverified_claims and isinstance(subject, str) and subject.startswith(SPIFFE):
        url = SPIFFE + subject.removeprefix(SPIFFE).partition("/")[0]
    return url if isinstance(url, str) and 0 < len(url) <= URL_LIMIT else None


def split(text: str) -> tuple[Mapping[str, object], bytes]:
    """Return the header and the payload's bytes; raises InvalidTokenError unless both are as `parse` wants them."""
    if len(text) > SIZE_LIMIT:
        raise InvalidTokenError("too_large")
    segments = text.split(".")
    if len(segments) != 3:
        raise InvalidTokenError("not_three_segments")
    header_bytes, payload, signature = (_canonical(segment) for segment in segments)
    header = _object(header_bytes, "header_not_json")
    if not signature:
        raise InvalidTokenError("signature_missing")
    if "crit" in header:
        raise InvalidTokenError("crit_refused")
    if _KEY_CARRIERS & header.keys():
        raise InvalidTokenError("key_in_header")
    if header.keys() - _HEADERS:
        raise InvalidTokenError("header_unknown")
    return header, payload


def _canonical(segment: str) -> bytes:
    # SECURITY: base64url has many spellings of the same bytes; only one is accepted (test_jws.py, test_verify_wycheproof.py).
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidTokenError("base64_malformed") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise InvalidTokenError("base64_not_canonical")
    return raw


def _object(raw: bytes, reason: str) -> Mapping[str, object]:
    try:
        return strict_json.parse_storable(raw, DEPTH_LIMIT)
    except JsonError as error:
        # SECURITY: half a surrogate pair is not text, and no state could store it (vectors/subject_tokens.json).
        raise InvalidTokenError(_REASONS.get(error.rule, reason)) from None
