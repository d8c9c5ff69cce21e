"""Who vouches for callers: OIDC issuers as the policy registers them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from chalicelib.issuers import presets
from chalicelib.principal import Identity, RefusedValues
from chalicelib.tokens.jwk import SIGNING_USE, VerifyingKey
from chalicelib.tokens.jws import URL_LIMIT
from chalicelib.tokens.verify import SUBJECT_TYPES, Expected

_PLAIN = re.compile(r"[A-Za-z0-9._~/:@\[\]-]*")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~/:@!$&'()*+,;=?-]|%[0-9A-Fa-f]{2})+")  # RFC 3986 section 3.4


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of the policy."""

    name: str
    """Its name in the policy."""
    url: str
    """Matched byte for byte with `iss`."""
    preset: str
    """The name of its preset, "" for none."""
    audience: str
    """The `aud` that its tokens must have, and that callers are told to ask for."""
    algorithms: tuple[str, ...]
    """As in Preset, with what the policy sets; so are the fields below."""
    max_lifetime: int
    single_use: bool
    identity: Identity
    label: str
    required: tuple[str, ...]
    refused: RefusedValues
    jwks: Mapping[str, Any] | None = None
    """Its uploaded keys; None to fetch them."""
    other_audiences: tuple[str, ...] = ()
    """Values that `aud` may have instead."""

    def expected(self) -> Expected:
        """Return what a subject token of this issuer must be."""
        types = SUBJECT_TYPES.union(presets.find(self.preset).token_types)
        return Expected(
            self.url,
            self.audience,
            self.max_lifetime,
            types,
            self.required,
            fractions=True,
            other_audiences=self.other_audiences,
        )

    @property
    def audiences(self) -> tuple[str, ...]:
        """Every audience that is accepted, each as a token's only one."""
        return (self.audience, *self.other_audiences)

    @property
    def key_uses(self) -> tuple[str, ...]:
        """Values of `use` of the keys that sign its tokens."""
        return (SIGNING_USE, *presets.find(self.preset).key_uses)

    def to_json(self) -> dict[str, Any]:
        """Return the form that state adapters store; `audience` is a list if there are several, as in the policy file."""
        stored = {**asdict(self), "identity": self.identity._asdict()}
        del stored["other_audiences"]
        return {**stored, "audience": self.audiences} if self.other_audiences else stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Issuer:
        """Read the stored form back."""
        identity, audience = stored["identity"], stored["audience"]
        first, *others = [audience] if isinstance(audience, str) else audience
        read = {
            "audience": first,
            "other_audiences": tuple(others),
            "algorithms": tuple(stored["algorithms"]),
            "required": tuple(stored["required"]),
            "refused": tuple((claim, tuple(values)) for claim, values in stored["refused"]),
            "identity": Identity(identity["name"], tuple(tuple(path) for path in identity["paths"])),
        }
        return cls(**{**stored, **read})


class KeySource(Protocol):
    """Finds issuers' public keys."""

    def find(self, issuer: Issuer, kid: str, alg: str, now: int) -> VerifyingKey:
        """Return the key; raises InvalidTokenError if the issuer has no such key, Unavailable if its keys cannot be read.

        kid, alg: as the unverified token's header has them. Where several keys share the kid, alg says which.
        """


def url_fault(url: str, *, allow_loopback: bool) -> str | None:
    """Return what an issuer's URL has to be; None if it is that already. allow_loopback: accept http for loopback hosts.

    URLs are compared byte for byte; there is no normal form, so a trailing slash makes another issuer.
    """
    if len(url) > URL_LIMIT or not _PLAIN.fullmatch(url):
        return f"a plain URL of at most {URL_LIMIT} ASCII characters, without query, fragment or `%`"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets without an address, or an invalid port
        return "a URL with a valid host and port"
    own = allow_loopback and parts.hostname in ("127.0.0.1", "localhost", "::1")
    known = parts.scheme in ("https", "spiffe") or (own and parts.scheme == "http")
    if not known or not url.startswith(f"{parts.scheme}://"):  # urlsplit takes HTTPS: too
        return "an https:// URL"
    if (
        not parts.hostname
        or parts.netloc != parts.netloc.lower()
        or port == 0
        or "@" in parts.netloc
        or parts.netloc[-1] == ":"
    ):
        return "a URL with a host in lower case and without a user"
    if {"..", "."} & set(parts.path.split("/")) or "//" in parts.path or (parts.scheme == "spiffe" and parts.path):
        return "a URL with a plain path; a trust domain has none"
    return None


def key_set_url_fault(url: str, *, allow_loopback: bool) -> str | None:
    """Return what the URL of an issuer's keys has to be; as `url_fault`, but it may have a query.

    Azure AD B2C's discovery documents name such URLs (November 2026); RFC 8414 and OpenID Connect allow them.
    """
    plain, mark, query = url.partition("?")
    if len(url) > URL_LIMIT or (mark and not _QUERY.fullmatch(query)):
        return f"a URL of at most {URL_LIMIT} ASCII characters, with no fragment and no empty query"
    return url_fault(plain, allow_loopback=allow_loopback)


def fits(url: str, forms: tuple[str, ...]) -> bool:
    """Whether a URL has one of a preset's forms; a preset without forms takes any."""
    patterns = ("[^/]+".join(re.escape(part) for part in form.split("*")) for form in forms)
    return not forms or any(re.fullmatch(pattern, url) for pattern in patterns)
