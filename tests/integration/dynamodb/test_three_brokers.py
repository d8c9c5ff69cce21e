"""Three brokers as servers over one set of tables and one key in KMS: limits, locks and retries are the stage's."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chalicelib.aws.signing import public_jwk
from chalicelib.aws.signing_keys import DynamoSigningKeys
from chalicelib.quota import Limit
from tests.contracts import samples
from tests.contracts.verbs import Keys, claims_of
from tests.gateway_stage import MANY, Gateway, GatewayStage, configured, provider, serving
from tests.integration import ministack
from tests.running import JWT, TOKEN_EXCHANGE, Answer, call

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.slow  # three brokers are started

BROKERS, THREADS = 3, 12
ALONE = "[broker]\nlisten = '127.0.0.1:0'\n"


@dataclass
class Three:
    """stage: the tables. text: of the configuration. brokers: what is asked."""

    stage: GatewayStage
    text: str
    brokers: list[Gateway]

    def put_in_force(self, limit: Limit, *, single_use: bool = False) -> None:
        """Put a grant in force with this limit of tokens, for an issuer that needs no network."""
        keys = {"keys": [self.stage.keys.issuer.public_jwk]}
        issuer = replace(samples.issuer(single_use=single_use), jwks=keys)
        made = samples.grant(calls=MANY, issued=(limit,))
        samples.put_in_force(self.stage.adapters.control, made, issuers=(issuer,), at=int(time.time()))

    def shown(self, subject: str) -> str:
        """Return a fresh identity token."""
        return self.stage.verbs.subject_token(subject, int(time.time()))

    def together(
        self,
        asked: list[tuple[str, str]],
        brokers: list[Gateway] | None = None,
        amid: Callable[[], None] = lambda: None,
    ) -> list[Answer]:
        """Exchange at once, at each broker in turn. asked: identity tokens, each with its Idempotency-Key or "".

        amid: is called once eight were answered.
        """
        turns, answered = list(zip(asked, itertools.cycle(brokers or self.brokers), strict=False)), itertools.count(1)
        barrier = threading.Barrier(min(THREADS, len(turns)))

        def run(turn: tuple[tuple[str, str], Gateway]) -> Answer:
            (shown, key), broker = turn
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(0.5)
            answer = exchange(broker, shown, key)
            if next(answered) == 8:
                amid()
            return answer

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(run, turns))


def exchange(broker: Gateway, shown: str, key: str = "") -> Answer:
    """Ask for a token; what breaks off is an answer with status 0."""
    asked = {"grant_type": TOKEN_EXCHANGE, "subject_token": shown, "subject_token_type": JWT, "audience": "openai"}
    try:
        return call("POST", f"{broker.url}/token", asked, {"idempotency-key": key} if key else {}, patience=0)
    except OSError:
        return Answer(0, {}, b"")


@pytest.fixture(scope="module")
def three(endpoint: str, dynamodb: DynamoDBClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    directory = tmp_path_factory.mktemp("brokers")
    with contextlib.ExitStack() as stack:
        tables = stack.enter_context(ministack.fresh_tables(dynamodb))
        origin = stack.enter_context(provider())
        name = tables.control.removesuffix("-control")
        stage = GatewayStage(endpoint, name, tables, Keys(directory))
        stage.fill(ministack.client("secretsmanager", endpoint), origin.origin)
        kms = ministack.client("kms", endpoint)
        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        public = public_jwk(kms, made)
        DynamoSigningKeys(tables).publish(public)
        stage.adapters.control.list_signing_keys((public["kid"],))
        text = configured(stage=name, signing_key=made, doors=ALONE, edge_url="https://edge.example.com")
        brokers = [stack.enter_context(serving(stage, directory, text))["broker"] for _ in range(BROKERS)]
        yield Three(stage, text, brokers)


@pytest.mark.parametrize("limit", [1, 9])
def test_tokens_are_exact(three: Three, limit: int) -> None:
    """Three brokers together issue exactly the limit, unless an answer of the tables was lost, which stays counted."""
    three.put_in_force(Limit(limit, "day"))
    subject = {1: "build-1", 9: "build-2"}[limit]
    said = Counter(one.status for one in three.together([(three.shown(subject), "") for _ in range(limit + 20)]))
    assert set(said) <= {200, 429, 503}
    assert limit - said[503] <= said[200] <= limit


def test_an_identity_is_used_once(three: Three) -> None:
    """Where an issuer's tokens are for single use, one of three brokers takes each, and a retry gets the same token again."""
    three.put_in_force(Limit(1000, "day"), single_use=True)
    shown, key = three.shown("build-1"), secrets.token_urlsafe(24)
    said = three.together([(shown, "")] * 9)
    assert [one.status for one in said].count(200) == 1, [one.body for one in said]
    again = three.shown("build-1")
    retried = [*three.together([(again, key)] * 9), exchange(three.brokers[0], again, key)]
    tokens = [one.json["access_token"] for one in retried if one.status == 200]
    assert retried[-1].status == 200, retried[-1].body
    assert len({str(claims_of(one)["jti"]) for one in tokens}) == 1


def test_one_that_is_killed_issues_no_more(three: Three, tmp_path: Path) -> None:
    """A broker that is killed amid exchanges gives nothing of the limit back: the others issue what is left, and no more."""
    three.put_in_force(Limit(30, "day"))
    with serving(three.stage, tmp_path, three.text) as fourth:
        asked = [(three.shown("build-1"), "") for _ in range(40)]
        said = three.together(asked, [*three.brokers, fourth["broker"]], fourth["broker"].process.kill)
    left = three.together([(three.shown("build-1"), "") for _ in range(31)])
    issued = Counter(one.status for one in [*said, *left])
    assert set(issued) <= {0, 200, 429, 503}
    assert issued[0] > 0
    assert 30 - issued[0] - issued[503] <= issued[200] <= 30
    assert exchange(three.brokers[1], three.shown("build-1")).status == 429
