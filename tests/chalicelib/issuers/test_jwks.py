"""Issuers' keys, fetched from real servers on this machine: good ones, slow ones and hostile ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from chalicelib.errors import Unavailable
from chalicelib.issuers.errors import IssuerKeysUnavailable, IssuerKeysUnusable
from chalicelib.issuers.jwks import FAILURE_PAUSE, HARD_AGE, SOFT_AGE, UNKNOWN_KID_PAUSE, Jwks, get_json
from chalicelib.issuers.registry import Issuer
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.jwk import VerifyingKey
from tests import forge
from tests.issuer_site import (
    DISCOVERY,
    HEADERS,
    SLOW,
    Answer,
    Handler,
    Site,
    document,
    fetches_end,
    jwk,
    oidc_issuer,
    raw,
    sending,
    serving,
    silent,
    status,
)

NOW = 1_800_000_000
BRIEF = 0.2
"""Seconds of a deadline in these tests."""
UNKNOWN = "InvalidTokenError kid_unknown"
UNAVAILABLE = "IssuerKeysUnavailable issuer_keys_unavailable"
UNUSABLE = "IssuerKeysUnusable issuer_keys_unusable"


def test_why_keys_are_of_no_use() -> None:
    """What trying again cannot mend is said to be so, with its cause for the log."""
    with pytest.raises(IssuerKeysUnusable) as caught:
        Jwks(lambda _url, _within: {"issuer": "https://other.test"}).find(
            oidc_issuer("https://issuer.test"), "a", "ES256", NOW
        )
    assert (caught.value.retry_after, caught.value.log_fields()) == (None, {"cause": "discovery_of_another_issuer"})


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (silent, "too_slow"),
        (status(500), "status_500"),
        (status(404), "status_404"),
        (status(302, location="https://issuer.test/keys"), "status_302"),
        (raw(b"<html>"), "malformed"),
        (document({"keys": []}), "key_set_empty"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_why_keys_cannot_be_fetched(site: Site, answer: Answer, cause: str) -> None:
    """What may be over in a moment is said to be so, with its cause for the log too."""
    site.answers["/keys"] = answer
    with pytest.raises(IssuerKeysUnavailable) as caught:
        keys_of(deadline=BRIEF).find(site.issuer(), "a", "ES256", NOW)
    assert (caught.value.retry_after, caught.value.log_fields()) == (1, {"cause": cause})
    assert caught.value.description == "the keys of this identity's issuer cannot be fetched just now; try again"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def keys_of(*, deadline: float = 5.0) -> Jwks:
    return Jwks(get_json, loopback=True, deadline=deadline)


def outcome(keys: Jwks, issuer: Issuer, kid: str = "a", now: int = NOW) -> str:
    """Look for a key; return the kind and reason of the refusal, or `found`."""
    try:
        keys.find(issuer, kid, "ES256", now)
    except (InvalidTokenError, Unavailable) as no:
        return f"{type(no).__name__} {no.reason}"
    return "found"


def run_parallel(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` on so many threads, all let go at the same moment; return what each returned."""
    results: list[object] = [None] * count
    edge_state = threading.Barrier(count)

    def run(index: int) -> None:
        edge_state.wait()
        results[index] = work(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# Finding


def test_key_is_cached(site: Site) -> None:
    """A key is found, and its issuer asked once."""
    keys = keys_of()
    assert keys.find(site.issuer(), "a", "ES256", NOW).kid == "a"
    assert keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE - 1).algorithm == "ES256"
    assert site.asked == [DISCOVERY, "/keys"]


def test_same_kid_at_two_issuers(site: Site) -> None:
    """Two issuers' keys are never mixed, even under one kid."""
    with serving() as other:
        other.publish(jwk("a", owner="other"))
        keys = keys_of()
        found = [keys.find(one.issuer(), "a", "ES256", NOW).key.key.public_numbers() for one in (site, other)]
        assert found[0] != found[1]


def test_other_algorithms(site: Site) -> None:
    """An issuer registered with other algorithms finds only keys for those."""
    site.publish(jwk("a"), jwk("b", "P-384"))
    keys = keys_of()
    assert keys.find(site.issuer(), "a", "ES256", NOW).algorithm == "ES256"
    assert outcome(keys, site.issuer(), "b") == UNKNOWN
    other = site.issuer(algorithms=("ES384",))
    assert keys.find(other, "b", "ES384", NOW).algorithm == "ES384"
    assert outcome(keys, other, "a") == UNKNOWN


def test_trailing_slash_of_issuer(site: Site) -> None:
    """The issuer's trailing slash is not doubled in the discovery URL, nor ignored in the discovery document."""
    assert outcome(keys_of(), site.issuer(url=f"{site.url}/")) == UNUSABLE
    assert site.asked == [DISCOVERY]


# Ages


def test_unknown_kid(site: Site) -> None:
    """An unknown kid is asked for at most once a minute."""
    keys = keys_of()
    keys.find(site.issuer(), "a", "ES256", NOW)
    for second in range(0, UNKNOWN_KID_PAUSE, 7):
        assert outcome(keys, site.issuer(), f"made-up-{second}", NOW + second) == UNKNOWN
    assert site.asked.count("/keys") == 1
    site.publish(jwk("a"), jwk("b"))
    assert keys.find(site.issuer(), "b", "ES256", NOW + UNKNOWN_KID_PAUSE).kid == "b"
    assert outcome(keys, site.issuer(), "c", NOW + UNKNOWN_KID_PAUSE + 59) == UNKNOWN
    assert site.asked.count("/keys") == 2


@pytest.mark.parametrize("wrong", [2 * 86400, 400 * 86400, -2 * 86400])
def test_a_clock_that_was_ahead(site: Site, wrong: int) -> None:
    """Keys that were fetched while the wall clock was wrong age all the same, and a new key is asked for after a minute."""
    ticks = [100.0]
    keys = Jwks(get_json, loopback=True, ticks=lambda: ticks[0])
    keys.find(site.issuer(), "a", "ES256", NOW)
    ticks[0] += SOFT_AGE
    keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE + wrong)
    site.publish(jwk("b"))
    ticks[0] += UNKNOWN_KID_PAUSE
    assert outcome(keys, site.issuer(), "b", NOW + SOFT_AGE + UNKNOWN_KID_PAUSE) == "found"
    assert outcome(keys, site.issuer(), "a", NOW + SOFT_AGE + UNKNOWN_KID_PAUSE) == UNKNOWN
    site.publish(jwk("c"))
    ticks[0] += SOFT_AGE
    assert outcome(keys, site.issuer(), "b", NOW) == UNKNOWN


def test_a_withdrawn_key_ages_by_either_clock(site: Site) -> None:
    """A key is forgotten after a day by the wall clock too: the other one may stand still while a function is frozen."""
    keys = Jwks(get_json, loopback=True, ticks=lambda: 100.0)
    keys.find(site.issuer(), "a", "ES256", NOW)
    site.answers["/keys"] = status(500)
    assert outcome(keys, site.issuer(), "a", NOW + HARD_AGE - 1) == "found"
    assert outcome(keys, site.issuer(), "a", NOW + HARD_AGE) == UNAVAILABLE


def test_unknown_kid_at_failing_issuer(site: Site) -> None:
    """A failing issuer is not asked more often for unknown kids."""
    keys = keys_of()
    keys.find(site.issuer(), "a", "ES256", NOW)
    site.answers["/keys"] = status(500)
    for second in range(60, 120):
        assert outcome(keys, site.issuer(), "made-up", NOW + second) == UNAVAILABLE
        assert keys.find(site.issuer(), "a", "ES256", NOW + second).kid == "a"
    assert site.asked.count("/keys") == 2


def test_withdrawn_key(site: Site) -> None:
    """A withdrawn key is gone after the soft age."""
    keys = keys_of()
    site.publish(jwk("a"), jwk("b"))
    keys.find(site.issuer(), "b", "ES256", NOW)
    site.publish(jwk("a"))
    assert keys.find(site.issuer(), "b", "ES256", NOW + SOFT_AGE - 1).kid == "b"
    assert outcome(keys, site.issuer(), "b", NOW + SOFT_AGE) == UNKNOWN
    assert keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE).kid == "a"


def test_changed_key(site: Site) -> None:
    """A key that changes under its kid is the new one after the soft age."""
    keys = keys_of()
    before = keys.find(site.issuer(), "a", "ES256", NOW)
    site.publish(jwk("a", owner="new"))
    after = keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE)
    assert before.key.key.public_numbers() != after.key.key.public_numbers()


def test_unreachable_issuer_keeps_its_keys_for_a_day(site: Site) -> None:
    """An unreachable issuer's keys are served from memory for a day; after that its tokens are refused."""
    keys = keys_of()
    keys.find(site.issuer(), "a", "ES256", NOW)
    site.answers.clear()
    for age in (SOFT_AGE, HARD_AGE // 2, HARD_AGE - 1):
        assert keys.find(site.issuer(), "a", "ES256", NOW + age).kid == "a"
    for age in (HARD_AGE, 10 * HARD_AGE):
        assert outcome(keys, site.issuer(), "a", NOW + age) == UNAVAILABLE
    site.publish(jwk("a"))
    assert keys.find(site.issuer(), "a", "ES256", NOW + 11 * HARD_AGE).kid == "a"


def test_retry_without_keys(site: Site) -> None:
    """An issuer that was never reached is asked again after seconds."""
    keys = keys_of()
    site.answers["/keys"] = status(503)
    assert [outcome(keys, site.issuer(), "a", NOW + second) for second in range(FAILURE_PAUSE)] == [UNAVAILABLE] * 5
    assert site.asked == [DISCOVERY, "/keys"]
    site.publish(jwk("a"))
    assert keys.find(site.issuer(), "a", "ES256", NOW + FAILURE_PAUSE + 1).kid == "a"


def test_an_empty_key_set_is_tried_again_soon(site: Site) -> None:
    """An issuer that publishes no key at all counts as unreachable: known keys stay, and it is asked again after seconds."""
    keys = keys_of()
    site.publish()
    assert [outcome(keys, site.issuer(), "a", NOW + second) for second in range(FAILURE_PAUSE)] == [UNAVAILABLE] * 5
    site.publish(jwk("a"))
    assert keys.find(site.issuer(), "a", "ES256", NOW + FAILURE_PAUSE + 1).kid == "a"
    site.publish()
    assert keys.find(site.issuer(), "a", "ES256", NOW + 2 * SOFT_AGE).kid == "a"
    assert outcome(keys, site.issuer(), "b", NOW + 2 * SOFT_AGE) == UNAVAILABLE


def test_no_usable_key(site: Site) -> None:
    """A set without one key for us ends the old ones, is said to be of no use, and is asked for again after seconds."""
    keys = keys_of()
    assert outcome(keys, site.issuer()) == "found"
    site.publish({**jwk("a"), "use": "enc"}, jwk("b", "P-384"))
    later = NOW + SOFT_AGE
    assert [outcome(keys, site.issuer(), kid, later) for kid in ("a", "b", "c")] == [UNUSABLE] * 3
    site.publish(jwk("a"))
    assert keys.find(site.issuer(), "a", "ES256", later + FAILURE_PAUSE).kid == "a"


def test_clock_goes_back(site: Site) -> None:
    """A clock that goes back a minute causes neither a refusal nor a fetch."""
    keys = keys_of()
    keys.find(site.issuer(), "a", "ES256", NOW)
    assert keys.find(site.issuer(), "a", "ES256", NOW - 60).kid == "a"
    assert outcome(keys, site.issuer(), "made-up", NOW - 60) == UNKNOWN
    assert site.asked == [DISCOVERY, "/keys"]


# At once


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_many_unknown_kids(site: Site, *, warm: bool) -> None:
    """Two hundred unknown kids at once are asked for once."""
    keys = keys_of()
    if warm:
        keys.find(site.issuer(), "a", "ES256", NOW - SOFT_AGE // 2)
        site.asked.clear()
    answers = run_parallel(200, lambda index: outcome(keys, site.issuer(), f"made-up-{index}"))
    assert set(answers) == {UNKNOWN}
    assert site.asked == [DISCOVERY, "/keys"]


def test_single_fetch(site: Site) -> None:
    """Two hundred callers of a new issuer all get its key from one fetch."""
    keys = keys_of()
    answers = run_parallel(200, lambda _: keys.find(site.issuer(), "a", "ES256", NOW).kid)
    assert set(answers) == {"a"}
    assert site.asked == [DISCOVERY, "/keys"]


def test_refresh_does_not_block(site: Site) -> None:
    """While keys are refreshed, callers with a known key do not wait."""
    keys, go_on, arrived = keys_of(), threading.Event(), threading.Event()
    keys.find(site.issuer(), "a", "ES256", NOW)
    serve = site.answers["/keys"]

    def held(handler: Handler) -> None:
        arrived.set()
        go_on.wait(5)
        serve(handler)

    site.answers["/keys"] = held
    first: list[VerifyingKey] = []
    refreshing = threading.Thread(target=lambda: first.append(keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE)))
    refreshing.start()
    assert arrived.wait(5)
    for _ in range(100):
        assert keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE).kid == "a"
    assert refreshing.is_alive()
    go_on.set()
    refreshing.join()
    assert first[0].kid == "a"
    assert site.asked.count("/keys") == 2


def test_failed_fetch_is_not_repeated_by_waiting_callers(site: Site) -> None:
    """Callers who waited for a fetch that failed do not fetch one after another."""
    keys = keys_of(deadline=BRIEF)
    site.answers["/keys"] = silent
    started = time.monotonic()
    # The later ones bring a later time, as callers who arrive during the fetch do.
    answers = run_parallel(60, lambda index: outcome(keys, site.issuer(), "a", NOW + index // 40))
    assert set(answers) == {UNAVAILABLE}
    assert time.monotonic() - started < BRIEF + 6
    assert site.asked == [DISCOVERY, "/keys"]


def test_slow_issuer_and_another(site: Site) -> None:
    """A slow issuer does not hold up another."""
    keys, arrived = keys_of(deadline=2.0), threading.Event()

    def arrive(handler: Handler) -> None:
        arrived.set()
        silent(handler)

    with serving() as slow:
        slow.answers[DISCOVERY] = arrive
        waiting = threading.Thread(target=lambda: outcome(keys, slow.issuer()))
        waiting.start()
        assert arrived.wait(5)
        assert keys.find(site.issuer(), "a", "ES256", NOW).kid == "a"
        assert waiting.is_alive()
        slow.closing.set()
        waiting.join()


# Slow


@pytest.mark.parametrize("path", [DISCOVERY, "/keys"])
@pytest.mark.parametrize("how", ["silent", "headers drip", "body drips"])
def test_slow_issuer(site: Site, how: str, path: str) -> None:
    """A slow issuer is given up within the deadline."""
    site.answers[path] = SLOW[how]
    started = time.monotonic()
    assert outcome(keys_of(deadline=BRIEF), site.issuer()) == UNAVAILABLE
    assert time.monotonic() - started < BRIEF + 3
    assert fetches_end()


@pytest.mark.slow
def test_one_deadline(site: Site) -> None:
    """Both documents share one deadline."""

    def late(handler: Handler) -> None:
        handler.site.closing.wait(1.5)
        document({"issuer": site.url, "jwks_uri": f"{site.url}/keys"})(handler)

    site.answers[DISCOVERY] = late
    site.answers["/keys"] = silent
    started = time.monotonic()
    assert outcome(keys_of(deadline=2.0), site.issuer()) == UNAVAILABLE
    assert time.monotonic() - started < 3.4
    assert site.asked == [DISCOVERY, "/keys"]


# Elsewhere


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [DISCOVERY, "/keys"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same host", "other host"])
def test_redirects(site: Site, path: str, host: str, code: int) -> None:
    """Redirects are not followed."""
    site.answers["/moved"] = site.answers[path]
    site.answers[path] = status(code, location=f"http://{host}:{site.port}/moved")
    assert outcome(keys_of(), site.issuer()) == UNAVAILABLE
    assert "/moved" not in site.asked


@pytest.mark.parametrize(
    "claimed", ["https://issuer.test", "{url}/", "{url} ", "{URL}", "", None, 1, ["{url}"]], ids=str
)
def test_discovery_of_another_issuer(site: Site, claimed: object) -> None:
    """A discovery document of another issuer is not followed."""
    text = claimed.format(url=site.url, URL=site.url.upper()) if isinstance(claimed, str) else claimed
    site.answers[DISCOVERY] = document({"issuer": text, "jwks_uri": f"{site.url}/keys"})
    assert outcome(keys_of(), site.issuer()) == UNUSABLE
    assert site.asked == [DISCOVERY]


def test_query_of_jwks_uri(site: Site) -> None:
    """A jwks_uri may have a query, which is sent as it is."""
    query = "?p=b2c_1_signin&x=a%20b/?"
    site.answers[DISCOVERY] = document({"issuer": site.url, "jwks_uri": f"{site.url}/keys{query}"})
    site.answers[f"/keys{query}"] = document({"keys": [jwk("a")]})
    assert keys_of().find(site.issuer(), "a", "ES256", NOW).kid == "a"
    assert site.asked == [DISCOVERY, f"/keys{query}"]


def test_one_kid_for_two_keys(site: Site) -> None:
    """Of two keys under one kid, the token's algorithm says which is meant; `use: enc` is never meant."""
    issuer = site.issuer(algorithms=("RS256", "ES256"))
    rsa = forge.rsa_key("a").jwk
    site.publish({**jwk("a"), "use": "enc"}, jwk("a"), rsa, {**forge.rsa_key("b").jwk, "kid": "a", "use": "enc"})
    keys = keys_of()
    found = {alg: keys.find(issuer, "a", alg, NOW) for alg in ("RS256", "ES256", "PS256", "none")}
    assert {alg: key.algorithm for alg, key in found.items() if alg == key.algorithm} == {
        "RS256": "RS256",
        "ES256": "ES256",
    }
    assert found["PS256"] in (found["RS256"], found["ES256"]), "the verifier refuses it there: another algorithm"
    assert len(site.asked) == 2


UNSAFE = [
    "http://issuer.test/keys",
    "http://127.0.0.1/keys",
    "https://user@issuer.test/keys",
    "https://user:password@issuer.test/keys",
    "https://issuer.test/../keys",
    "https://issuer.test/keys?",
    "https://issuer.test/keys?kid=%6",
    "https://issuer.test/keys?kid=a b",
    "https://issuer.test/keys?kid=a\n",
    "https://issuer.test/keys?kid=\u0131",
    "https://issuer.test/keys?kid=a#b",
    "https://issuer.test/../keys?kid=a",
    "https://user@issuer.test/keys?kid=a",
    "https://?kid=a",
    "https://issuer.test?@other.test/keys" + "k" * 300,
    "https://issuer.test/keys#a",
    "https://issuer.test/%6beys",
    "https://issuer.test/ke ys",
    "https://issuer.test/keys\n",
    "https://\u0131ssuer.test/keys",
    "https:///keys",
    "https://[::1/keys",
    "https://issuer.test:port/keys",
    "https://issuer.test:99999/keys",
    "//issuer.test/keys",
    "/keys",
    "file:///etc/hostname",
    "https://issuer.test/" + "k" * 300,
    "",
    None,
    7,
]


@pytest.mark.parametrize("uri", UNSAFE, ids=str)
def test_unsafe_jwks_uri(uri: object) -> None:
    """A jwks_uri that is not as safe as its issuer's URL is not followed."""
    asked: list[str] = []

    def fetch(url: str, _within: float) -> object:
        asked.append(url)
        return {"issuer": "https://issuer.test", "jwks_uri": uri}

    assert outcome(Jwks(fetch, loopback=True), oidc_issuer("https://issuer.test")) == UNUSABLE
    assert asked == [f"https://issuer.test{DISCOVERY}"]


# Wrong

WRONG: Mapping[str, Answer] = {
    "404": status(404),
    "500": status(500),
    "401": status(401),
    "203": status(203),
    "206": status(206),
    "204": sending(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "HTML": raw(b"<html>Sign in to the Wi-Fi</html>", content_type="text/html"),
    "nothing": raw(b""),
    "half": raw(b'{"keys": ['),
    "less than promised": raw(b'{"keys": []}', content_length="100"),
    "not UTF-8": raw(b'{"keys": "\xff"}'),
    "UTF-16": raw(json.dumps({"keys": []}).encode("utf-16")),
    "too deep": raw(b"[" * 100_000),
    "a list": document([]),
    "a word": document("keys"),
    "no keys": document({}),
    "keys that are no list": document({"keys": {"a": jwk("a")}}),
    "a key that is no object": document({"keys": [jwk("a"), "b"]}),
    "no key": document({"keys": []}),
    "a member twice": raw(b'{"keys": [], "keys": []}'),
    "a symmetric key": document({"keys": [jwk("a"), {"kty": "oct", "kid": "b", "k": "c2VjcmV0"}]}),
    "one kid twice": document({"keys": [jwk("a"), jwk("a", owner="other")]}),
    "no HTTP": sending(b"220 mail.test ESMTP\r\n"),
    "no status": sending(b"HTTP/1.1 \r\n\r\n"),
    "a header line of 1 MiB": sending(HEADERS, b"x: ", b"x" * 2**20),
    "a wrong chunk": sending(HEADERS, b"transfer-encoding: chunked\r\n\r\nnot hex\r\n"),
    "hangs up": sending(),
}


_NO_SET = {
    *("a list", "a word", "no keys", "keys that are no list", "a key that is no object"),
    *("a symmetric key", "one kid twice"),
}
"""JSON, but not a set of keys: what trying again does not mend."""


@pytest.mark.parametrize("what", WRONG)
def test_malformed_key_set(site: Site, what: str) -> None:
    """A malformed key set leaves the issuer unavailable, and one that is no set of keys until it is mended."""
    site.answers["/keys"] = WRONG[what]
    assert outcome(keys_of(), site.issuer()) == (UNUSABLE if what in _NO_SET else UNAVAILABLE)
    assert site.asked == [DISCOVERY, "/keys"]


@pytest.mark.parametrize("what", WRONG)
def test_failed_refresh(site: Site, what: str) -> None:
    """A known key outlives a refresh that fails."""
    keys = keys_of()
    keys.find(site.issuer(), "a", "ES256", NOW)
    site.answers["/keys"] = WRONG[what]
    assert keys.find(site.issuer(), "a", "ES256", NOW + SOFT_AGE).kid == "a"
    assert site.asked.count("/keys") == 2


def test_unusable_key(site: Site) -> None:
    """A key that cannot be used counts as missing."""
    site.publish({**jwk("a"), "use": "enc"}, jwk("b"))
    keys = keys_of()
    assert keys.find(site.issuer(), "b", "ES256", NOW).kid == "b"
    assert outcome(keys, site.issuer(), "a") == UNKNOWN
