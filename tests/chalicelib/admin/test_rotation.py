"""The administrators' views of rotations, over the practice provider's API on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chalicelib.issuers.key_probe import HttpKeyProbe
from chalicelib.providers.origins import Origins
from chalicelib.providers.rotation import HELD_SECONDS, OVERLAP_SECONDS
from local.practice.key_account import MANAGEMENT_KEY, KeyAccount
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT
from local.practice.provider import make_provider
from tests.http_door import ADA, Door, admin_door
from tests.parts import NOW, Parts
from tests.practice_server import KEYS, serving
from tests.running import Answer

SETTINGS = {"project": PROJECT, "service_account": SERVICE_ACCOUNT}
MANAGED = {"value": MANAGEMENT_KEY, "settings": SETTINGS}


@dataclass
class Stage:
    """The administrators' door over parts whose keys are the practice provider's, and a clock."""

    parts: Parts
    account: KeyAccount
    url: str
    now: int = NOW

    def __post_init__(self) -> None:
        self.parts.set_key("openai", KEYS["openai"], origin=self.url)
        self.account.clock = lambda: self.now
        self.door: Door = admin_door(
            self.parts,
            origins=Origins(self.url),
            key_probe=HttpKeyProbe(),
            clock=lambda: self.now,
            wait=self._wait,
        )

    def _wait(self, seconds: float) -> None:
        self.now += int(seconds)

    def ask(self, method: str, what: str, body: object = None, name: str = "openai", **query: str) -> Answer:
        """Ask what a key is replaced with."""
        path, resource = f"/admin/keys/{name}/{what}", f"/admin/keys/{{name}}/{what}"
        return self.door.administer(method, path, body, resource=resource, parameters={"name": name}, query=query)

    def listed(self) -> dict[str, Any]:
        """What the list says of the key."""
        [found] = [one for one in self.door.administer("GET", "/admin/keys").json["items"] if one["name"] == "openai"]
        return dict(found)

    def value(self) -> str:
        """What a call is made with."""
        info = self.parts.control.key_info("openai")
        assert info is not None
        assert info.current is not None
        return self.parts.provider_keys.get("openai", info.current.version).value


@pytest.fixture
def stage(parts: Parts) -> Iterator[Stage]:
    """The stage."""
    account = KeyAccount()
    with serving(make_provider(KEYS, accounts={"openai": account, "openrouter": KeyAccount()})) as url:
        yield Stage(parts, account, url.replace("127.0.0.1", "localhost"))


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and title of a refusal."""
    return answer.status, answer.json["title"]


def test_a_key_is_replaced(stage: Stage) -> None:
    """A management key is set, the key replaced, and the one before it deleted after the overlap; each answer says how far it is."""
    set_up = stage.ask("PUT", "management", MANAGED)
    assert set_up.status == 200, set_up.json
    assert set_up.json["management"] == {"origin": stage.url, "settings": SETTINGS, "author": ADA, "at": NOW}
    assert (set_up.json["rotates"], stage.listed()["rotates"]) == ("by_api", "by_api")
    begun = stage.ask("POST", "rotation", {"overlap": 600})
    assert begun.status == 200, begun.json
    rotation = begun.json["rotation"]
    assert (rotation["step"], rotation["ends"], rotation["problem"]) == ("overlap", stage.now + 600, None)
    assert rotation["deletes"] is None  # the practice key was not made by us
    assert stage.listed()["rotation"] == rotation
    second = stage.value()
    assert stage.account.accepts(second)
    stage.now += 600
    assert stage.ask("POST", "rotation").json["rotation"] is None
    begun = stage.ask("POST", "rotation").json
    assert begun["rotation"]["overlap"] == OVERLAP_SECONDS
    stage.now += OVERLAP_SECONDS
    assert stage.ask("POST", "rotation", {}).json["rotation"] is None
    assert not stage.account.accepts(second)
    assert [one.name for one in stage.account.keys.values()] == [one["name"] for one in provider_keys(stage)]
    kinds = ["key.rotation_begun", "key.rotated", "key.retired"]
    assert [one.kind for one in reversed(stage.parts.events(key="openai")) if one.kind in kinds] == kinds * 2


def provider_keys(stage: Stage) -> list[dict[str, Any]]:
    """What the provider's keys are."""
    answer = stage.ask("GET", "provider-keys")
    assert answer.status == 200, answer.json
    return list(answer.json["items"])


def test_orphans_are_found(stage: Stage) -> None:
    """What has our name at the provider and nobody uses is an orphan; another installation's keys are not listed."""
    stage.ask("PUT", "management", MANAGED)
    stage.ask("POST", "rotation")
    lost = stage.account.make("keybroker/broker.example/openai/lost/attempt", "sk-")
    stage.account.make("keybroker/another.example/openai/lost/attempt", "sk-")
    assert {one["use"] for one in provider_keys(stage)} == {"in_force", "orphan"}
    assert [one["id"] for one in provider_keys(stage) if one["use"] == "orphan"] == [lost.id]


def test_go_back(stage: Stage) -> None:
    """A rollback puts the version before in force at once, also one that was set by hand."""
    assert refusal(stage.ask("POST", "rollback")) == (409, "no_version_before")
    first = stage.value()
    answer = stage.door.administer(
        "PUT",
        "/admin/keys/openai",
        {"value": KEYS["openai"]},
        resource="/admin/keys/{name}",
        parameters={"name": "openai"},
    )
    assert answer.status == 200, answer.json
    now = stage.listed()["version"]
    dry = stage.ask("POST", "rollback", dry_run="true").json
    assert (dry["dry_run"], dry["version"] != now, stage.listed()["version"]) == (True, True, now)
    back = stage.ask("POST", "rollback").json
    assert (back["version"], stage.listed()["version"], stage.value()) == (dry["version"], dry["version"], first)
    assert stage.ask("POST", "rollback").json["version"] == now


def test_a_rollback_is_of_the_version_that_was_looked_at(stage: Stage) -> None:
    """Sent twice with the version that it was meant for, a rollback or a rotation is done once, and refused then."""
    stage.ask("PUT", "management", MANAGED)
    first = stage.listed()["version"]
    assert stage.ask("POST", "rotation", version=first).status == 200
    assert refusal(stage.ask("POST", "rotation", version=first)) == (409, "key_changed")
    second = stage.listed()["version"]
    assert stage.ask("POST", "rollback", version=second).json["version"] == first
    assert refusal(stage.ask("POST", "rollback", version=second)) == (409, "key_changed")
    assert refusal(stage.ask("POST", "rollback", dry_run="true", version=second)) == (409, "key_changed")
    assert stage.listed()["version"] == first


def test_after_a_leak_by_hand_nobody_goes_back(stage: Stage) -> None:
    """A value that is set because the one before is known to others is the only one that is kept."""
    before = stage.value()
    stage.parts.set_key("openai", "sk-leaked-0123456789", origin=stage.url)
    answer = stage.door.administer(
        "PUT",
        "/admin/keys/openai",
        {"value": before},
        resource="/admin/keys/{name}",
        parameters={"name": "openai"},
        query={"leaked": "true"},
    )
    assert answer.status == 200, answer.json
    assert refusal(stage.ask("POST", "rollback")) == (409, "no_version_before")
    assert "sk-leaked" not in (stage.parts.directory / "provider-keys.json").read_text()


def test_a_leak_while_a_key_is_replaced(stage: Stage) -> None:
    """After a leak in an overlap, both the key before and the new one are replaced: either may be the one that leaked."""
    stage.ask("PUT", "management", MANAGED)
    stage.ask("POST", "rotation")
    second = stage.value()
    answer = stage.ask("POST", "rotation", {"leaked": True})
    assert (answer.status, answer.json["rotation"]) == (200, None), answer.json
    assert stage.value() != second
    assert not stage.account.accepts(second)
    assert len(stage.account.keys) == 1


def test_a_leaked_key_is_one_request(stage: Stage) -> None:
    """After a leak one request replaces the key, deletes the one before, and leaves nothing to go back to."""
    stage.ask("PUT", "management", MANAGED)
    stage.ask("POST", "rotation", {"overlap": 0})
    second = stage.value()
    answer = stage.ask("POST", "rotation", {"leaked": True}).json
    assert (answer["rotation"], answer["before"]) == (None, None)
    assert (stage.account.accepts(second), stage.account.accepts(stage.value())) == (False, True)


def test_a_provider_that_fails_is_a_problem(stage: Stage) -> None:
    """What the provider did not do is answered as the rotation's problem; sent again it goes on, or it is ended."""
    stage.ask("PUT", "management", MANAGED)
    stage.account.faults.answers["create"] = [(True, 500), (False, 429)]
    first = stage.value()
    assert stage.ask("POST", "rotation").json["rotation"]["problem"] == "status_500"
    assert stage.ask("POST", "rotation").json["rotation"]["problem"] == "status_429"
    assert stage.value() == first
    assert stage.ask("DELETE", "rotation").json["rotation"] is None
    assert stage.account.keys == {}
    assert refusal(stage.ask("DELETE", "rotation")) == (409, "no_rotation")


def test_a_key_that_is_known_late(stage: Stage) -> None:
    """A new key that the provider refuses for ten seconds, and does not list for five, comes into force all the same."""
    stage.ask("PUT", "management", MANAGED)
    stage.account.faults.refused_seconds, stage.account.faults.unlisted_seconds = 10, 5
    assert stage.ask("POST", "rotation").json["rotation"]["step"] == "overlap"
    assert stage.account.accepts(stage.value())


def test_a_policy_of_the_provider_refuses(stage: Stage) -> None:
    """Where the account's policy refuses to make a key, or the management key is not taken any more, nothing changes."""
    stage.ask("PUT", "management", MANAGED)
    first = stage.value()
    stage.account.faults.longest_life = 60
    assert stage.ask("POST", "rotation").json["rotation"]["problem"] == "status_400"
    stage.account.management_key = "another"
    assert stage.ask("POST", "rotation").json["rotation"]["problem"] == "status_401"
    assert (stage.value(), stage.listed()["rotation"]["step"]) == (first, "creating")
    assert refusal(stage.ask("DELETE", "rotation")) == (503, "temporarily_unavailable")


def test_by_hand_alone(stage: Stage) -> None:
    """A key without a management key, and one of a provider without an API for it, are not replaced by one; nothing is begun."""
    assert refusal(stage.ask("POST", "rotation")) == (409, "no_management")
    assert refusal(stage.ask("GET", "provider-keys")) == (409, "no_management")
    assert refusal(stage.ask("PUT", "management", MANAGED, "anthropic")) == (422, "management_not_supported")
    assert refusal(stage.ask("POST", "rotation", name="nobody")) == (404, "not_found")
    assert stage.listed()["rotation"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": "x y", "settings": SETTINGS},
        {"value": MANAGEMENT_KEY},
        {"value": MANAGEMENT_KEY, "settings": {**SETTINGS, "more": "x"}},
        {"value": MANAGEMENT_KEY, "settings": {**SETTINGS, "project": "../x"}},
        {"value": MANAGEMENT_KEY, "settings": {**SETTINGS, "project": 1}},
        {"value": MANAGEMENT_KEY, "settings": {**SETTINGS, "project": "x" * 201}},
        {"value": MANAGEMENT_KEY, "settings": SETTINGS, "origin": "https://x.example"},
        [],
    ],
)
def test_a_malformed_management_key_is_refused(stage: Stage, body: object) -> None:
    """What is not a management key of this provider is a 400 that quotes nothing of it."""
    answer = stage.ask("PUT", "management", body)
    assert answer.status == 400
    assert MANAGEMENT_KEY not in answer.body.decode()
    assert stage.listed()["management"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"overlap": -1},
        {"overlap": 604801},
        {"overlap": True},
        {"overlap": "1h"},
        {"leaked": 1},
        {"x": 1},
        [],
        {"overlap": 1, "leaked": True},
    ],
)
def test_a_malformed_rotation_is_refused(stage: Stage, body: object) -> None:
    """What is not a rotation is a 400, and nothing has begun."""
    stage.ask("PUT", "management", MANAGED)
    assert stage.ask("POST", "rotation", body).status == 400
    assert stage.listed()["rotation"] is None


def test_a_management_key_is_proved(stage: Stage) -> None:
    """A management key that the provider does not take, or says nothing of, is not stored; nor is one of a dry run."""
    assert refusal(stage.ask("PUT", "management", {**MANAGED, "value": KEYS["openai"]})) == (422, "management_refused")
    wrong = {**MANAGED, "settings": {**SETTINGS, "project": "proj_other"}}
    assert refusal(stage.ask("PUT", "management", wrong)) == (422, "management_refused")
    stage.account.faults.answers["list"] = [(False, 500)]
    assert stage.ask("PUT", "management", MANAGED).status == 503
    assert stage.ask("PUT", "management", MANAGED, dry_run="true").json["dry_run"] is True
    assert stage.listed()["management"] is None


def test_a_management_key_stays_home(stage: Stage) -> None:
    """A management key goes to the provider's own API, wherever the key's calls go."""
    stage.ask("PUT", "management", MANAGED)
    info = stage.parts.control.key_info("openai")
    assert info is not None
    assert info.current is not None
    elsewhere = replace(info, current=replace(info.current, origin="http://localhost:9"))
    stage.parts.control.change_key(info, elsewhere)
    assert stage.ask("GET", "provider-keys").status == 200


def test_no_value_leaves(stage: Stage) -> None:
    """Neither the management key nor any value is in an answer, in the audit, or anywhere in the state file."""
    said = [stage.ask("PUT", "management", MANAGED).body, stage.ask("POST", "rotation").body]
    values = [stage.value()]
    stage.now += OVERLAP_SECONDS
    said += [stage.ask("POST", "rotation").body, stage.ask("GET", "provider-keys").body]
    said += [stage.door.administer("GET", path).body for path in ("/admin/keys", "/admin/audit")]
    said += [one.read_bytes() for one in stage.parts.directory.glob("state.db*")]
    for one in (MANAGEMENT_KEY, *values):
        assert not any(one.encode() in text for text in said)


def test_one_at_a_time(stage: Stage) -> None:
    """While someone is at work on it, and for 90 seconds after it was killed, a rotation is a 409 for others."""
    stage.ask("PUT", "management", MANAGED)
    stage.account.faults.answers["create"] = [(False, 500)]
    stage.ask("POST", "rotation")
    info = stage.parts.control.key_info("openai")
    assert info is not None
    assert info.rotation is not None
    held = replace(info.rotation, attempt="someone", held_until=stage.now + HELD_SECONDS)
    stage.parts.control.change_key(info, replace(info, rotation=held))
    assert refusal(stage.ask("POST", "rotation")) == (409, "rotation_busy")
    assert refusal(stage.ask("DELETE", "rotation")) == (409, "rotation_busy")
    assert refusal(stage.ask("POST", "rollback")) == (409, "no_version_before")
    stage.now += HELD_SECONDS
    assert stage.ask("POST", "rotation").json["rotation"]["step"] == "overlap"
