"""What has to be true of every client, whatever else it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from local.practice.completions import SENTENCE
from tests.sdks.clients import Client
from tests.sdks.python.steps import WORDS
from tests.sdks.results import Record

STREAM = " ".join(SENTENCE.split()[:WORDS])
REFUSALS = {
    "refused": (403, "the token does not open POST ", 1),
    "quota": (429, "the quota of 1/day calls of yours is used up", 3),
    "revoked": (403, "access is revoked (principal)", 1),
    "expired": (401, "the token has expired; get a fresh one", 1),
}
"""The status of each request, what the user has to be able to read, and how many requests there may be."""
MINUTE = "the quota of 1/minute calls of yours is used up"
ANSWERED = ("plain", "refreshed", "proxied")


def cases_of(client: Client) -> tuple[str, ...]:
    """Return the cases that a client has, in the order of the page."""
    gets_its_own = bool({"refreshed", "exchange"} & set(client.ways))
    has = {
        "expired": "fixed" in client.ways,
        "refreshed": gets_its_own,
        "proxied": "proxied" in client.ways,
        "no_more": gets_its_own,
    }
    return (
        "plain",
        *(["streamed"] if client.shows_pieces else []),
        "refused",
        "minute",
        "quota",
        "revoked",
        *(case for case, there in has.items() if there),
    )


def broken(client: Client, cases: Mapping[str, Record]) -> Iterator[str]:
    """Yield what is not as it has to be."""
    if sorted(cases) != sorted(cases_of(client)):
        yield f"played {sorted(cases)}, and has {sorted(cases_of(client))}"
        return
    for case, one in cases.items():
        found = list(_faults(case, one, client))
        if found:
            yield f"{case}: {', '.join(found)}: {one}"


def _faults(case: str, one: Record, client: Client) -> Iterator[str]:
    if case in ANSWERED and (one.is_error or one.said != SENTENCE):
        yield "not the answer"
    if case == "streamed" and (one.is_error or one.said != (SENTENCE if client.is_agent else STREAM) or one.pieces < 2):
        yield "not the answer in pieces"
    if case == "minute":
        yield from _faults_of_a_minute(one)
    if case in REFUSALS:
        status, text, times = REFUSALS[case]
        most = max(times, client.tries)
        if not one.is_error or text not in one.said:
            yield f"the user does not see {text!r}"
        if not 1 <= len(one.statuses) <= most or set(one.statuses) != {status}:
            yield f"not 1 to {most} requests that are answered {status}"
    # A coding assistant goes on without a token, which opens nothing.
    sent = set(one.statuses) - ({401} if client.is_agent else set())
    if case == "no_more" and (not one.is_error or "access is revoked" not in one.said or sent):
        yield "not the broker's refusal, and nothing sent"


def _faults_of_a_minute(one: Record) -> Iterator[str]:
    """Some wait for the next minute and go on; the user of the others has to read what it is."""
    waited = one.said == SENTENCE and one.statuses == (429, 200)
    refused = one.is_error and MINUTE in one.said and set(one.statuses) == {429} and len(one.statuses) <= 3
    if not waited and not refused:
        yield f"neither an answer in the next minute nor {MINUTE!r}"
