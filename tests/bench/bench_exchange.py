"""What one exchange costs beside the signatures in it, and what of it grows with the policy."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from chalicelib.exchange import exchange
from chalicelib.exchange.exchange import TokenRequest
from chalicelib.issuers import presets
from chalicelib.issuers.jwks import Jwks
from chalicelib.policy import compile as policy
from chalicelib.policy.grants import CANDIDATES
from tests.bench.interleaved import interleaved
from tests.bench.large_policy import CROWD, large_policy
from tests.bench.table import Table
from tests.parts import CI, NOW, claims_of, mint, parts_in

ROUNDS, EACH = 40, 5
DIALECT = policy.InstallationRules({"ci": replace(presets.PRESETS["github-actions"], url=CI)})
_ISSUER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_JWK = {**RSAAlgorithm.to_jwk(_ISSUER_KEY.public_key(), as_dict=True), "kid": "issuer-1", "alg": "RS256", "use": "sig"}
_DOCUMENTS: dict[str, object] = {
    f"{CI}/.well-known/openid-configuration": {"issuer": CI, "jwks_uri": f"{CI}/jwks"},
    f"{CI}/jwks": {"keys": [_JWK]},
}
BARE = "bare: jwt.decode RS256 + jwt.encode ES256"


def tables() -> Iterator[Table]:
    """Yield the table: CPU time of an exchange, whole, but for HTTP."""
    crowd = f"10,000 grants, not named: {CANDIDATES} candidates, the most"
    large = large_policy(10_000, issuers=200, crowd=CANDIDATES)
    with contextlib.ExitStack() as stack:
        one, some, many = (
            stack.enter_context(_exchanges(text)) for text in (large_policy(1), large_policy(100, issuers=20), large)
        )
        cases = {
            BARE: _bare(),
            "1 grant, named": one("openai", "one"),
            "1 grant, not named": one("openai", None),
            "100 grants, named": some("openai", "one"),
            "100 grants, not named": some("openai", None),
            "10,000 grants, named": many("openai", "one"),
            "10,000 grants, not named": many("openai", None),
            crowd: many(CROWD, None),
        }
        found = interleaved(cases, ROUNDS, each=EACH)
    yield Table(
        "One exchange: find, verify (RS256), choose, issue over SQLite, sign (ES256); no HTTP",
        ("case", "CPU µs", "x bare"),
        [(name, seconds * 1e6, seconds / found[BARE]) for name, seconds in found.items()],
        (f"Median of {ROUNDS} interleaved rounds of {EACH}. A transaction's wait for the disk is no CPU time.",),
    )


@contextlib.contextmanager
def _exchanges(text: str) -> Iterator[Callable[[str, str | None], Callable[[], object]]]:
    """Put a policy in force; give what makes cases of it, by key and grant. Subject tokens are minted ahead."""
    with tempfile.TemporaryDirectory() as directory, parts_in(Path(directory)) as parts:
        parsed = policy.parse(text, rules=DIALECT)
        parts.control.apply(parsed, text, parts.control.current().version, parts.event())
        broker = replace(parts.broker(), keys=Jwks(lambda url, *_: _DOCUMENTS[url]))

        def case(key: str, grant: str | None) -> Callable[[], object]:
            subjects = iter([_subject_token() for _ in range((ROUNDS + 1) * EACH)])

            def call() -> object:
                request = TokenRequest(next(subjects), key, request_id="req-1", grant=grant)
                return exchange.exchange(request, broker, NOW, parts.new_id)

            return call

        yield case


def _bare() -> Callable[[], object]:
    """What no exchange can do without, with the library's own checks and nothing else."""
    subjects = itertools.cycle([_subject_token() for _ in range(EACH)])
    issuer_key, own_key = jwt.PyJWK(json.loads(json.dumps(_JWK))), ec.generate_private_key(ec.SECP256R1())

    def call() -> object:
        claims = jwt.decode(
            next(subjects),
            issuer_key,
            algorithms=["RS256"],
            audience="keybroker",
            issuer=CI,
            options={"verify_exp": False, "verify_iat": False},  # the tests' clock stands still
        )
        return jwt.encode(claims, own_key, algorithm="ES256", headers={"kid": "broker-1", "typ": "at+jwt"})

    return call


def _subject_token() -> str:
    return jwt.encode(claims_of(mint()), _ISSUER_KEY, algorithm="RS256", headers={"kid": "issuer-1"})
