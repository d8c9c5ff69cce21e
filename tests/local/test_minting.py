"""Credentials are minted, renewed and put in force whatever providers, clocks and other minters do, and none is ever shown."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import StateUnavailable, Unavailable
from chalicelib.federation import exchange, minter
from chalicelib.federation.assertion import AHEAD_SECONDS, BEHIND_SECONDS
from chalicelib.federation.notes import Asked
from chalicelib.issuers import fetch
from chalicelib.providers.errors import ProviderKeysUnwritable
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.versions import KeyVersion
from local.minting import Minting, Parts
from local.practice.federation.endpoint import Fault
from local.sqlite.control import SqliteControl
from local.sqlite.mint_notes import SqliteMintNotes
from tests.contracts import samples
from tests.federated import ALL, OTHERS, POLICY, Federated, federated

BOTH = {"anthropic": "minted", "openai": "minted"}
ASKED = Asked("ada", "r-1")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Federated]:
    """An installation whose keys were never minted."""
    with federated(tmp_path) as made:
        yield made


def test_both_are_minted(here: Federated) -> None:
    """At the first look every federated key gets a credential that its provider takes, and no other key does."""
    assert here.minter().renew_due() == BOTH
    assert here.works("openai")
    assert here.works("anthropic")
    assert here.key("set").current is None
    assert here.minter().renew_due() == {}


def test_every_provider(here: Federated) -> None:
    """Each provider that is asked over HTTP gives a credential, in its own form, and says when it ends."""
    here.apply(ALL)
    assert here.minter().renew_due() == {**BOTH, **dict.fromkeys(OTHERS, "minted")}
    lives = {}
    for name in (*BOTH, *OTHERS):
        assert here.works(name), name
        lives[name] = here.version(name).expires - here.version(name).at
    assert lives["openrouter"] == 900
    assert all(3500 < life <= 7200 for name, life in lives.items() if name != "openrouter")
    gemini = here.file.get("gemini", here.version("gemini").version)
    assert gemini.beside == (("x-goog-user-project", "practice-project"),)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("openrouter", "invalid_grant"),
        ("google-sts", "invalid_grant"),
        ("gemini", "PERMISSION_DENIED"),
        ("azure-openai", "AADSTS"),
        ("github-app", "status_401"),
    ],
)
def test_every_denial(here: Federated, name: str, word: str) -> None:
    """Each provider's real denial is a clear word, asked about again after five minutes; the other keys are minted."""
    here.apply(ALL)
    here.endpoints[name].faults.lasting = Fault(is_denied=True)
    key = "gemini" if name == "google-sts" else name
    outcomes = here.minter().renew_due()
    assert outcomes.pop(key).startswith(word)
    assert set(outcomes.values()) == {"minted"}
    assert SqliteMintNotes(here.state).mint_notes()[key].denied
    assert here.key(key).current is None


def test_an_app_without_its_key(here: Federated) -> None:
    """An App whose private key was never handed over is said to lack it."""
    here.apply(ALL.replace("Iv23practice", "Iv23another"))
    assert here.minter().renew_due()["github-app"] == "app_key_missing"


def test_practice_asks_no_provider(here: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the practice parts run, every request of the minter goes to this machine."""
    asked = []
    real = fetch.ask

    def spy(method: str, url: str, *rest: Any) -> object:  # noqa: ANN401  as it is called
        asked.append(url)
        return real(method, url, *rest)

    monkeypatch.setattr(fetch, "ask", spy)
    here.apply(ALL)
    here.minter().renew_due()
    assert len(asked) == 7
    assert all(one.startswith("http://127.0.0.1:") for one in asked)


@pytest.mark.parametrize("key", ["openai", "bedrock"])
def test_practice_asks_aws_for_nothing(here: Federated, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """What AWS would vouch for or sign is refused while the practice parts run: no credential of this machine's is looked for."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("AWS was asked")

    for name in ("chalicelib.aws.web_identity.assertion", "chalicelib.aws.bedrock_token.make"):
        monkeypatch.setattr(name, asked)
    ids = POLICY.replace("openai, federated: {", "openai, federated: {identity: aws-sts, ", 1)
    here.apply(ids.replace("  set: ", "  bedrock: {provider: bedrock, federated: {region: eu-west-1}}\n  set: "))
    assert here.minter().renew_due()[key] == "not_in_practice"
    note = SqliteMintNotes(here.state).mint_notes()[key]
    assert (note.problem, note.denied) == ("not_in_practice", True)


def test_an_answer_names_no_address(here: Federated) -> None:
    """Whatever a provider's answer has in it, the credential is used at the table's address or by the policy's ids."""
    body = {"access_token": "a" * 40, "token_type": "Bearer", "expires_in": 900, "api_base": "https://evil.example"}
    here.endpoints["openai"].faults.lasting = Fault(body=json.dumps(body).encode())
    here.minter().renew_due()
    assert here.version().origin == here.urls.practice_origin()


def test_what_is_known_of_a_version(here: Federated) -> None:
    """It has its end, whom it is for, and how it goes into a call."""
    here.minter().renew_due()
    version = here.version("anthropic")
    assert (version.author, version.header, version.prefix) == ("minter", "authorization", "Bearer ")
    assert 600 < version.expires - here.clock() <= 7200
    key = here.file.get("anthropic", version.version)
    assert key.beside == (("anthropic-beta", "oauth-2025-04-20"), ("anthropic-workspace-id", ""))
    assert key.expires == version.expires


def test_the_static_value_is_gone(here: Federated) -> None:
    """Once a key that had a value is federated and minted, the value is neither kept nor gone back to."""
    here.file.put(
        "openai", ProviderKey("static", "https://api.openai.com", "authorization", "Bearer ", "sk-static-value")
    )
    version = KeyVersion(
        "static", "https://api.openai.com", "authorization", "ada", int(here.clock()), "Bearer ", "openai"
    )
    here.control.set_key("openai", version, samples.event("key.set"))
    here.minter().renew_due()
    assert here.version().before is None
    assert "sk-static-value" not in (here.directory / "provider-keys.json").read_text()


def test_renewed_at_half_its_life(here: Federated) -> None:
    """A credential is renewed at half its life, give or take a tenth, and the one before is there until the next."""
    here.minter().renew_due()
    first = here.version()
    life = first.expires - first.at
    here.pass_time(life * 0.44)
    assert "openai" not in here.minter().renew_due()
    here.pass_time(life * 0.12)
    assert here.minter().renew_due()["openai"] == "minted"
    second = here.version()
    assert second.version != first.version
    assert here.file.get("openai", first.version).value != here.file.get("openai", second.version).value
    assert here.works()


def test_other_ids_are_due_at_once(here: Federated) -> None:
    """Once the policy names another account, nothing of the former one is used for longer than it must."""
    here.minter().renew_due()
    first = here.version()
    here.endpoints["openai"].mapping.service_account = "svc_acct_other"  # type: ignore[attr-defined]
    here.apply(POLICY.replace("svc_acct_practice", "svc_acct_other"))
    assert here.minter().renew_due() == {"openai": "minted"}
    assert here.version().minted_for != first.minted_for


def test_other_ids_after_a_denial_are_due_at_once(here: Federated) -> None:
    """What a provider said of other ids holds nothing up, and says nothing of those that the policy has now."""
    here.endpoints["anthropic"].faults.lasting = Fault(is_denied=True)
    for _ in range(2):
        here.minter().renew_due()
        here.pass_time(300)
    here.minter().renew_due()
    here.apply(POLICY.replace("fdrl_practice", "fdrl_another"))
    assert here.minter().renew_due() == {"anthropic": "authentication_error"}
    note = SqliteMintNotes(here.state).mint_notes()["anthropic"]
    assert (note.failures, note.since) == (1, note.at)
    here.endpoints["anthropic"].faults.lasting = Fault()
    here.apply(POLICY)
    assert here.minter().renew_due() == {"anthropic": "minted"}
    assert SqliteMintNotes(here.state).mint_notes() == {}


def test_a_trial_that_works_ends_the_pause(here: Federated) -> None:
    """After a denial that was mended the next look mints, once a trial has worked; one that fails changes nothing."""
    here.endpoints["anthropic"].faults.lasting = Fault(is_denied=True)
    here.minter().renew_due()
    noted = SqliteMintNotes(here.state).mint_notes()["anthropic"]
    assert here.minter().try_once(here.key("anthropic"), ASKED).problem == "authentication_error"
    assert SqliteMintNotes(here.state).mint_notes()["anthropic"] == noted
    assert here.minter().renew_due() == {}
    here.endpoints["anthropic"].faults.lasting = Fault()
    assert here.minter().try_once(here.key("anthropic"), ASKED).problem == ""
    after = SqliteMintNotes(here.state).mint_notes()["anthropic"]
    assert after == noted._replace(next_try=int(here.clock())), "until there is one it says why there was none"
    assert here.minter().renew_due() == {"anthropic": "minted"}


def test_since_when_it_fails(here: Federated) -> None:
    """A note says when the first attempt of those in a row was, and what for."""
    here.endpoints["openai"].faults.lasting = Fault(status=503)
    began = int(here.clock())
    for _ in range(3):
        here.minter().renew_due()
        here.pass_time(60)
    note = SqliteMintNotes(here.state).mint_notes()["openai"]
    assert (note.failures, note.since, note.minted_for) == (3, began, minter.digest(here.key()))


def test_a_denial_is_told_once_and_not_hammered(here: Federated) -> None:
    """A provider that says no is asked every five minutes, recorded once, and forgotten when it says yes."""
    here.endpoints["anthropic"].faults.lasting = Fault(is_denied=True)
    assert here.minter().renew_due() == {"openai": "minted", "anthropic": "authentication_error"}
    note = SqliteMintNotes(here.state).mint_notes()["anthropic"]
    assert (note.denied, note.failures, note.next_try - note.at) == (True, 1, 300)
    assert note.request_id.startswith("req_")
    here.pass_time(299)
    assert here.minter().renew_due() == {}
    here.pass_time(1)
    assert here.minter().renew_due() == {"anthropic": "authentication_error"}
    assert [one.detail["why"] for one in here.events("key.mint_denied")] == ["authentication_error"]
    here.endpoints["anthropic"].faults.lasting = Fault()
    here.pass_time(300)
    assert here.minter().renew_due()["anthropic"] == "minted"
    assert SqliteMintNotes(here.state).mint_notes() == {}


def test_a_provider_that_is_away(here: Federated) -> None:
    """It is asked again after 5, 15 and 45 seconds, then every few minutes, and no event says that anybody refused."""
    here.minter().renew_due()
    first = here.version()
    here.pass_time(0.6 * (first.expires - first.at))
    here.endpoints["openai"].faults.lasting = Fault(status=503)
    pauses = []
    for _ in range(5):
        assert here.minter().renew_due()["openai"] == "server_error"
        note = SqliteMintNotes(here.state).mint_notes()["openai"]
        pauses.append(note.next_try - note.at)
        here.pass_time(note.next_try - note.at)
    assert pauses == [5, 15, 45, 135, 300]
    assert here.version() == first
    assert here.works()
    assert here.events("key.mint_denied") == []


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(status=429, retry_after="120"), "invalid_request"),
        (Fault(body=b"{"), "malformed"),
        (Fault(body=b"[]"), "malformed"),
        (Fault(body=b'{"access_token": "x", "token_type": "Bearer", "expires_in": 900}'), "malformed"),
        (Fault(body=b'{"access_token": "aaaaaaaaaaaaaaaaaaaa", "token_type": "Bearer", "expires_in": "900"}'), "malformed"),
        (Fault(body=b'{"access_token": "aaaa\\r\\nx-evil: aaaaaaa", "token_type": "Bearer", "expires_in": 900}'), "malformed"),
        (Fault(body=b'{"access_token": "aaaaaaaaaaaaaaaaaaaa", "token_type": "mac", "expires_in": 900}'), "malformed"),
        (Fault(life=0), "life_too_short"),
        (Fault(life=-5), "life_too_short"),
        (Fault(body=b"x" * 200_000), "too_large"),
        (Fault(delay=2), "too_slow"),
    ],
)  # fmt: skip
def test_what_a_provider_answers(here: Federated, fault: Fault, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it answers is a credential of use or a word, within bounded time, and the one in force stays."""
    monkeypatch.setattr(exchange, "ASK_SECONDS", 0.5 if fault.delay else 5.0)
    here.minter().renew_due()
    first = here.version()
    here.pass_time(0.6 * (first.expires - first.at))
    here.endpoints["openai"].faults.lasting = fault
    assert here.minter().renew_due()["openai"].startswith(outcome)
    assert here.version() == first
    if fault.retry_after:
        note = SqliteMintNotes(here.state).mint_notes()["openai"]
        assert note.next_try - note.at == 120


def test_an_answer_that_was_lost(here: Federated) -> None:
    """Each attempt has an assertion of its own, so that one whose answer was lost spends nobody's."""
    here.endpoints["anthropic"].faults.coming = [Fault(status=503, is_done=True)]
    assert here.minter().renew_due()["anthropic"] != "minted"
    here.pass_time(5)
    assert here.minter().renew_due()["anthropic"] == "minted"
    assert [one.reason for one in here.endpoints["anthropic"].history] == ["fault", ""]


def test_two_minters(here: Federated) -> None:
    """Of several minters one value comes into force, which works, and the others' ends unused."""
    outcomes: list[dict[str, str]] = []
    start = threading.Barrier(4)

    def run() -> None:
        own = here.minter()
        start.wait(10)
        outcomes.append(own.renew_due())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    for name in ("openai", "anthropic"):
        assert [one.get(name) for one in outcomes].count("minted") == 1
        assert {one.get(name) for one in outcomes} <= {"minted", "superseded", None}
        assert here.works(name)


@pytest.mark.parametrize("step", ["put", "set_key"])
def test_cut_off(here: Federated, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that is cut off before the value is stored, or in force, leaves what was in force, and is made again."""
    here.minter().renew_due()
    first = here.version()
    here.pass_time(0.6 * (first.expires - first.at))

    def fail(*_args: object, **_named: object) -> None:
        raise StateUnavailable

    cut = here.minter()
    monkeypatch.setattr(type(cut.keys), step, fail)
    assert cut.renew_due()["openai"] == "state_unavailable"
    assert here.version() == first
    assert here.works()
    monkeypatch.undo()
    assert here.minter().renew_due() == {}, "a provider is not asked at every look for what could not be kept"
    here.pass_time(5)
    assert here.minter().renew_due()["openai"] == "minted"
    assert here.works()


@pytest.mark.parametrize("apart", [-60, 60])
def test_clocks_a_minute_off(here: Federated, apart: int) -> None:
    """A provider's clock may be a minute ahead of ours, or behind."""
    here.provider_clock.now = here.clock.now + apart
    assert here.minter().renew_due() == BOTH
    assert here.works("openai")


@pytest.mark.slow  # some hours of renewals
def test_our_own_keys_rotate(here: Federated) -> None:
    """Our issuer's keys are replaced without a credential that is not had: by providers that keep a key set for 15 minutes."""
    for name in ("openai", "anthropic"):
        endpoint = here.endpoints[name]
        assert endpoint.issuer is not None
        endpoint.issuer._cached, endpoint.issuer._rereads = 900, False
    keys = Parts(here.directory, here.urls, here.clock).keys
    here.minter().renew_due()
    first = {one.kid for one in keys.published(int(here.clock()))}
    keys.rotate(int(here.clock()))
    signed = set()
    for _ in range(30):
        here.pass_time(300)
        assert set(here.minter().renew_due().values()) <= {"minted"}
        assert here.works("openai")
        assert here.works("anthropic")
        signed.add(frozenset(one.kid for one in keys.published(int(here.clock()))))
    assert any(first.isdisjoint(one) for one in signed)
    assert AHEAD_SECONDS + BEHIND_SECONDS < 30 * 300


def test_nothing_is_shown(here: Federated, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential and no assertion is in a log, the audit, a note or a repr, whatever becomes of an attempt."""
    caplog.set_level(logging.DEBUG)
    made: list[str] = []
    real = exchange.post_json

    def spy(means: exchange.Means, url: str, body: dict[str, object], headers: dict[str, str] | None = None) -> object:
        made.extend(str(body[name]) for name in ("assertion", "subject_token") if name in body)
        return real(means, url, body, headers)

    for module in ("anthropic", "openai"):
        monkeypatch.setattr(f"chalicelib.federation.{module}.post_json", spy)
    here.endpoints["openai"].faults.coming = [Fault(is_denied=True), Fault(body=b"{"), Fault()]
    for _ in range(3):
        Minting(here.minter).look()
        here.pass_time(300)
    values = [here.file.get(name, here.version(name).version) for name in ("openai", "anthropic")]
    notes = json.dumps([one.to_json() for one in SqliteMintNotes(here.state).mint_notes().values()])
    said = caplog.text + here.everything() + notes + repr(values) + repr(here.minter())
    assert len(made) == 4
    for secret in (*made, *(one.value for one in values)):
        assert secret not in said
        assert secret.rpartition(".")[2] not in said


def test_a_fault_ends_no_minting(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, the next look is made, and the log has its type alone."""

    def broken() -> minter.Minter:
        raise RuntimeError("sk-secret")

    Minting(broken).look()
    assert [json.loads(one.getMessage())["reason"] for one in caplog.records] == ["RuntimeError"]
    assert "sk-secret" not in caplog.text


def test_an_event_of_each_mint(here: Federated) -> None:
    """The audit says of each credential which assertion got it, which request that was, and when it ends."""
    here.minter().renew_due()
    [of_openai] = [one for one in here.events("key.minted") if one.key == "openai"]
    version = SqliteControl(here.state).key_info("openai")
    assert version is not None
    assert version.current is not None
    assert of_openai.actor == "minter"
    assert of_openai.detail["version"] == version.current.version
    assert of_openai.detail["expires"] == str(version.current.expires)
    assert len(of_openai.detail["assertion"]) >= 16


def test_a_trial_is_recorded(here: Federated) -> None:
    """Each trial is one event: who asked, which assertion and request, and until when the credential works, or why there is none."""
    tried = here.minter().try_once(here.key(), ASKED)
    here.endpoints["openai"].faults.lasting = Fault(is_denied=True)
    here.minter().try_once(here.key(), ASKED)
    denied, worked = here.events("key.mint_tried")
    assert {(one.actor, one.request_id, one.key) for one in (denied, worked)} == {("ada", "r-1", "openai")}
    assert (worked.detail["expires"], worked.detail.get("request", "")) == (str(tried.expires), tried.request_id)
    assert len(worked.detail["assertion"]) >= 16
    assert denied.detail["assertion"] != worked.detail["assertion"]
    assert ("expires" in denied.detail, bool(denied.detail["why"])) == (False, True)
    assert here.key().current is None


def test_no_trial_without_its_event(here: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial whose event cannot be written is a 503: nobody is told that it works, and no pause ends."""

    def fail(*_args: object) -> None:
        raise StateUnavailable

    here.endpoints["openai"].faults.coming = [Fault(is_denied=True), Fault()]
    here.minter().renew_due()
    noted = SqliteMintNotes(here.state).mint_notes()
    own = here.minter()
    monkeypatch.setattr(type(own.audit), "record", fail)
    with pytest.raises(Unavailable):
        own.try_once(here.key(), ASKED)
    assert SqliteMintNotes(here.state).mint_notes() == noted


def test_an_event_of_each_mint_that_came_to_nothing(here: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that another's superseded, or that could not be kept, lives until its end, so it is in the audit, with why."""
    own = here.minter()
    here.minter().renew_due()
    info = replace(here.key(), current=None)
    monkeypatch.setattr(own.keys, "known_keys", lambda: (info,))
    assert own.renew_due() == {"openai": "superseded"}

    def fail(*_args: object) -> None:
        raise ProviderKeysUnwritable

    monkeypatch.setattr(own.store, "put", fail)
    here.endpoints["openai"].faults.lasting = Fault()
    assert own.renew_due() == {"openai": "provider_keys_unwritable"}
    events = [one for one in here.events("key.minted") if one.key == "openai"]
    assert [one.reason for one in events] == ["provider_keys_unwritable", "superseded", ""]
    assert len({one.id for one in events}) == len({one.detail["assertion"] for one in events}) == 3
