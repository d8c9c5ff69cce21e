from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from keybroker import IdentityError, Unreachable, find_identity, tries
from keybroker.http_client import Response
from keybroker.sources.identity_request import TIMEOUT
from keybroker.sources.retry import get_with_retry, why
from keybroker.tries import Tries
from tests.keybroker.sources.stand_ins import TOKEN, Site, github

HEADERS = {"metadata-flavor": "Google"}


@pytest.fixture(params=["github", "google"])
def environ(site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return a job's variables; the site answers as its runner or metadata server does, and pauses are short."""
    monkeypatch.setattr(tries, "PAUSE", (0.0, 0.001))
    if request.param == "google":
        return {"GCE_METADATA_HOST": site.url.removeprefix("http://")}
    site.body = json.dumps({"value": TOKEN})
    return github(f"{site.url}/token?a=b")


@pytest.mark.parametrize("first", [[429], [500, 500], [429, 500, 500], [503, 408, 502]])
def test_what_fails_for_a_moment_is_asked_again(site: Site, environ: dict[str, str], first: list[int]) -> None:
    """Every source over HTTP survives a 429 and two 5xx in a row."""
    site.first = first
    assert find_identity(environ=environ).unverified_subject_token == TOKEN
    assert len(site.asked) == len(first) + 1


@pytest.mark.parametrize(("status", "said"), [(429, "HTTP 429: too many requests"), (503, "HTTP 503: it is failing")])
def test_what_goes_on_failing_is_told(site: Site, environ: dict[str, str], status: int, said: str) -> None:
    """After four requests the status is told as what it is, and no permission is blamed."""
    site.status = status
    with pytest.raises(IdentityError, match=said) as caught:
        find_identity(environ=environ)
    assert len(site.asked) == 4
    assert "permissions" not in str(caught.value)
    assert "service account" not in str(caught.value)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410, 422])
def test_a_refusal_is_not_asked_again(site: Site, environ: dict[str, str], status: int) -> None:
    """A status that speaks of the request is told after one request."""
    site.status = status
    with pytest.raises(IdentityError, match=f"HTTP {status}") as caught:
        find_identity(environ=environ)
    assert len(site.asked) == 1
    assert ("id-token: write" in str(caught.value)) == ("GITHUB_ACTIONS" in environ and status in (401, 403, 404))


def test_a_long_retry_after_is_told(site: Site, environ: dict[str, str]) -> None:
    """A Retry-After beyond the deadline is told at once and not waited for."""
    site.status, site.headers = 429, {"retry-after": "10800"}
    with pytest.raises(IdentityError, match="try again in 3 h"):
        find_identity(environ=environ)
    assert len(site.asked) == 1


def test_a_short_retry_after_is_waited_for() -> None:
    """A Retry-After within the deadline is waited for, and the requests end with it."""
    pauses, limits = list[float](), list[float]()
    answers = iter([Response(429, {"retry-after": "12"}, b""), Response(200, {}, b"ok")])

    def get(_url: str, _headers: Mapping[str, str], timeout: float) -> Response:
        limits.append(timeout)
        return next(answers)

    done = get_with_retry(get, "https://runner.example", HEADERS, Tries(20, lambda: sum(pauses), pauses.append))
    assert (done.status, len(pauses), pauses[0] >= 12) == (200, 1, True)
    assert (limits[0], limits[1] < 8.1) == (TIMEOUT, True)


def test_what_is_not_there_is_told_soon() -> None:
    """Two requests without a response are the last."""
    sent = list[str]()

    def get(url: str, _headers: Mapping[str, str], _timeout: float) -> Response:
        sent.append(url)
        raise Unreachable("cannot reach it")

    with pytest.raises(Unreachable, match="cannot reach it"):
        get_with_retry(get, "https://runner.example", HEADERS, Tries(20, lambda: 0.0, lambda _: None))
    assert len(sent) == 2


def test_a_status_without_advice_is_told_bare() -> None:
    """A status of which nothing is known is told as its number."""
    assert why(Response(418, {}, b"")) == "HTTP 418"
