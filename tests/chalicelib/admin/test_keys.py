from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

import app
from chalicelib.audit import Event
from chalicelib.errors import Refusal, StateUncertain
from chalicelib.exchange.request import BODY_LIMIT
from chalicelib.providers.keys import ProviderKey, ProviderKeyStore
from chalicelib.providers.probing import Probed
from chalicelib.providers.versions import KeyInfo, Keys, KeyVersion
from local.machine import Machine
from local.urls import Urls
from tests.http_door import ADA, Door, admin_door, problem
from tests.parts import GRANTS, ISSUERS, KEY_VALUE, NOW, Parts
from tests.running import POLICY, Answer, Running, call, start

KEYS = "/admin/keys"
VALUE = "sk-canary-0123456789abcdef"
WITH_GENERIC = (
    ISSUERS.replace("issuers:", "  internal:  {provider: generic}\nissuers:")
    + """\
grants:
  app:
    key: internal
    to: {issuer: ci, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1/chat/completions"]
    quota: {tokens: 100/hour, calls: 100/minute}
"""
)


def put(door: Door, body: object, name: str = "openai", **query: str) -> Answer:
    resource, parameters = f"{KEYS}/{{name}}", {"name": quote(name.encode("utf-8", "surrogatepass"), safe="")}
    return door.administer("PUT", f"{KEYS}/x", body, resource=resource, parameters=parameters, query=query)


def stored(parts: Parts, name: str = "openai") -> list[str]:
    """Every value that is stored for a key, the newest last."""
    text = (parts.directory / "provider-keys.json").read_text()
    return [one["value"] for one in json.loads(text).get(name, {}).values()]


def in_force(parts: Parts, name: str = "openai") -> KeyVersion | None:
    info = parts.control.key_info(name)
    assert info is not None
    return info.current


def version_in_force(parts: Parts) -> str:
    current = in_force(parts)
    assert current is not None
    return current.version


# the list


def test_list_keys(parts: Parts, door: Door) -> None:
    """Keys are listed with everything except their values."""
    parts.apply(WITH_GENERIC)
    answer = door.administer("GET", KEYS)
    assert answer.status == 200
    assert answer.json["next"] is None
    replaced = dict.fromkeys(("before", "management", "rotation")) | {"rotates": "by_hand"}
    replaced |= dict.fromkeys(("expires", "federated", "renews", "mint_failure")) | {"held": "static"}
    unset = ("version", "origin", "header", "author", "at", "last_used", "rotate_after", "due")
    never = dict.fromkeys(unset) | replaced
    openai = {"version": parts.versions["openai"], "origin": "https://api.openai.com", "header": "authorization"}
    assert {one["name"]: one for one in answer.json["items"]} == {
        "internal": {"name": "internal", "provider": "generic", **never},
        "openai": {**never, "name": "openai", "provider": "openai", **openai, "author": "ada", "at": NOW},
        "anthropic": answer.json["items"][0],
    }
    assert answer.json["items"][0]["name"] == "anthropic"
    assert KEY_VALUE not in answer.body.decode()


def test_listing_keys_is_audited(parts: Parts, door: Door) -> None:
    """Listing the keys is an audit event."""
    door.administer("GET", KEYS)
    (event,) = parts.events(kind="keys.read")
    assert (event.actor, event.request_id, event.at) == (ADA, "request-1", NOW)


def test_list_keys_used_and_due(parts: Parts, door: Door) -> None:
    """The list says when a key was last used, and when its value is due if the policy says so."""
    parts.apply((ISSUERS + GRANTS).replace("{provider: openai}", "{provider: openai, rotate_after: 90d}"))
    parts.admit(parts.token())
    answer = door.administer("GET", KEYS).json
    assert answer["complete"] is True
    times = {one["name"]: [one[name] for name in ("last_used", "rotate_after", "due")] for one in answer["items"]}
    assert times == {"anthropic": [None, None, None], "openai": [NOW, 90 * 86_400, NOW + 90 * 86_400]}


# a new value


def test_set_key(parts: Parts, door: Door) -> None:
    """A new value is used from the next call on."""
    token = parts.token()
    assert parts.admit(token).key.value == KEY_VALUE
    answer = put(door, {"value": VALUE})
    assert answer.status == 200, answer
    assert answer.json == {
        "name": "openai",
        "provider": "openai",
        "version": version_in_force(parts),
        "origin": "https://api.openai.com",
        "header": "authorization",
        "author": ADA,
        "at": NOW,
        "expires": None,
        "previous_origin": "https://api.openai.com",
        "probe": "works",
    }
    key = parts.admit(token).key
    assert (key.value, key.version, key.prefix) == (VALUE, answer.json["version"], "Bearer ")
    (event,) = parts.events(kind="key.set", request_id="request-1")
    assert (event.actor, event.key) == (ADA, "openai")
    assert event.detail == {name: answer.json[name] for name in ("version", "origin", "header")}


def test_old_value_leaves_the_disk(parts: Parts, door: Door) -> None:
    """Each value is a new version; but for the one to go back to, those before have left the disk when that is acknowledged."""
    versions = [put(door, {"value": VALUE + str(number)}).json["version"] for number in range(3)]
    assert len(set(versions)) == 3
    assert stored(parts) == [VALUE + "1", VALUE + "2"]
    assert (parts.directory / "provider-keys.json").stat().st_mode & 0o777 == 0o600
    assert [one["version"] for one in door.administer("GET", KEYS).json["items"] if one["name"] == "openai"] == [
        versions[-1]
    ]


def test_set_origin_header_prefix(parts: Parts, door: Door) -> None:
    """Origin, header and prefix are set together with the value."""
    parts.apply(WITH_GENERIC)
    body = {"value": VALUE, "origin": "https://api.example.com:8443", "header": "x-token", "prefix": "Token "}
    assert put(door, body, "internal").status == 200
    key = parts.admit(parts.exchange(audience="internal").access_token, key="internal").key
    assert (key.origin, key.header, key.prefix, key.value) == (
        *(body[n] for n in ("origin", "header", "prefix")),
        VALUE,
    )


def test_set_generic_key(parts: Parts, door: Door) -> None:
    """A key of the generic provider must name its origin."""
    parts.apply(WITH_GENERIC)
    text = "origin is required, since this provider has no default"
    assert problem(put(door, {"value": VALUE}, "internal")) == (400, "invalid_request", text)


def test_set_key_dry_run(parts: Parts, door: Door) -> None:
    """A dry run says what would be set, and sets nothing."""
    before = in_force(parts), parts.events(), stored(parts)
    answer = put(door, {"value": VALUE, "header": "x-api-key"}, dry_run="true")
    assert (answer.status, answer.json) == (
        200,
        {
            "dry_run": True,
            "name": "openai",
            "provider": "openai",
            "origin": "https://api.openai.com",
            "header": "x-api-key",
            "previous_origin": "https://api.openai.com",
            "replaces": parts.versions["openai"],
            "probe": "works",
        },
    )
    assert (in_force(parts), parts.events(), stored(parts)) == before


GATEWAY = {"origin": "https://llm.example.com:8443", "header": "x-token", "prefix": "Token "}


def test_new_value_keeps_where_it_goes(parts: Parts, door: Door) -> None:
    """A value that is sent alone keeps the origin, the header and the prefix in force, and both origins are shown."""
    assert put(door, {"value": VALUE, **GATEWAY}).json["previous_origin"] == "https://api.openai.com"
    (event,) = parts.events(kind="key.set", request_id="request-1")
    assert event.detail["previous_origin"] == "https://api.openai.com"
    tried = put(door, {"value": "sk-second"}, dry_run="true").json
    done = put(door, {"value": "sk-second"}).json
    for answer in (tried, done):
        assert (answer["origin"], answer["previous_origin"], answer["header"]) == (
            *(GATEWAY["origin"],) * 2,
            "x-token",
        )
    key = parts.admit(parts.token()).key
    assert {"origin": key.origin, "header": key.header, "prefix": key.prefix} == GATEWAY
    assert key.value == "sk-second"


def test_each_part_is_kept_or_named(parts: Parts, door: Door) -> None:
    """A part that is named is changed, and the others stay."""
    put(door, {"value": VALUE, **GATEWAY})
    put(door, {"value": VALUE, "origin": "https://eu.example.com"})
    key = parts.admit(parts.token()).key
    assert (key.origin, key.header, key.prefix) == ("https://eu.example.com", "x-token", "Token ")
    put(door, {"value": VALUE, "header": "authorization"})
    key = parts.admit(parts.token()).key
    assert (key.origin, key.header, key.prefix) == ("https://eu.example.com", "authorization", "Bearer ")


def test_another_provider_keeps_nothing(parts: Parts, door: Door) -> None:
    """A value for a key whose provider the policy has changed goes to the new provider, not to the former one."""
    put(door, {"value": VALUE, **GATEWAY})
    parts.apply((ISSUERS + GRANTS).replace("{provider: openai}", "{provider: mistral}"))
    answer = put(door, {"value": VALUE}).json
    assert (answer["origin"], answer["previous_origin"]) == ("https://api.mistral.ai", GATEWAY["origin"])


def test_set_twice_at_once(parts: Parts) -> None:
    """Of two administrators who set a key at once, the second is told, and undoes nothing."""
    door = meanwhile(parts, lambda: parts.set_key("openai", "sk-theirs", origin="https://eu.example.com"))
    answer = put(door, {"value": VALUE})
    assert (answer.status, answer.json["title"]) == (409, "key_changed")
    key = parts.admit(parts.token()).key
    assert (key.origin, key.value) == ("https://eu.example.com", "sk-theirs")


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "internal", "OPENAI", "openai ", "", "a/b", "..", "\x00", "openai\x00", "é", "*", "\ud800"),
        *("x" * 65, "x" * 5000, VALUE),
    ],
)
def test_set_unknown_key(parts: Parts, door: Door, name: str, dry_run: str) -> None:
    """A key that the policy does not name is a 404 before anything is stored."""
    before = (parts.directory / "provider-keys.json").read_bytes()
    for body in ({"value": VALUE}, {}, "{"):
        answer = put(door, body, name, dry_run=dry_run)
        assert problem(answer) == (404, "not_found", "the policy names no such key")
        assert VALUE not in answer.body.decode()
    assert (parts.directory / "provider-keys.json").read_bytes() == before
    assert parts.events(kind="key.set", request_id="request-1") == ()


def test_set_removed_key(parts: Parts, door: Door) -> None:
    """A key that the policy no longer names is a 404."""
    parts.apply(WITH_GENERIC.replace("  anthropic: {provider: anthropic}\n", ""))
    assert put(door, {"value": VALUE}, "anthropic").status == 404


# the value is never shown

FAULTY: list[object] = [
    "{",
    f'{{"value": "{VALUE}"',
    f'{{"value": "{VALUE}", "value": "{VALUE}"}}',
    f'{{"value": "{VALUE}", "{VALUE}": 1}}',
    f'["{VALUE}"]',
    f'"{VALUE}"',
    VALUE,
    {"value": VALUE + "\n"},
    {"value": [VALUE]},
    {"value": f"Bearer {VALUE}"},
    {"value": VALUE, "origin": VALUE},
    {"value": VALUE, "origin": f"https://{VALUE}@evil.example"},
    {"value": VALUE, "header": VALUE.upper()},
    {"value": VALUE, "prefix": VALUE + "\n"},
    {"value": VALUE, VALUE: VALUE},
    {VALUE: VALUE},
    {"value": VALUE * 1000},
    b'{"value": "' + VALUE.encode() + b'\xff"}',
    '{"value": "' + VALUE + '", "n": NaN}',
    "[" * 20_000 + VALUE,
    " " * BODY_LIMIT + VALUE,
]


def test_value_is_never_shown(parts: Parts, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """No response, log line or audit event holds the value."""
    caplog.set_level(logging.DEBUG)
    for body in FAULTY:
        for dry_run in ("true", "false"):
            answer = put(door, body, dry_run=dry_run)
            assert answer.status in (400, 413), (body, answer)
            assert VALUE not in answer.body.decode() + json.dumps(dict(answer.headers))
    assert stored(parts) == [KEY_VALUE]
    good = [put(door, {"value": VALUE}, dry_run=one) for one in ("true", "false")]
    later = [door.administer("GET", path) for path in (KEYS, "/admin/audit", "/admin/policy", "/admin/usage")]
    assert {one.status for one in (*good, *later)} == {200}
    assert not any(VALUE in one.body.decode() for one in (*good, *later))
    assert VALUE not in caplog.text
    assert VALUE not in json.dumps([one.to_json() for one in parts.events()])
    assert stored(parts)[-1] == VALUE
    found = [path.name for path in parts.directory.iterdir() if VALUE.encode() in path.read_bytes()]
    assert found == ["provider-keys.json"]


@dataclass
class Meanwhile:
    """A `ProviderKeyStore`, and what happens while a value is being stored."""

    store: ProviderKeyStore
    act: Callable[[], object]

    def put(self, name: str, key: ProviderKey) -> None:
        self.store.put(name, key)
        self.act()


def meanwhile(parts: Parts, act: Callable[[], object]) -> Door:
    return admin_door(parts, key_store=Meanwhile(parts.provider_keys, act))


def test_stored_but_not_in_force(parts: Parts) -> None:
    """A value that was stored but not put in force is a 503 that says so."""
    token, before = parts.token(), in_force(parts)
    other = sqlite3.connect(parts.directory / "state.db", isolation_level=None)
    with contextlib.closing(other):
        answer = put(meanwhile(parts, lambda: other.execute("BEGIN IMMEDIATE")), {"value": VALUE})
        other.execute("ROLLBACK")
    text = "the value was stored but is not in force, and nothing has changed; send it again"
    assert problem(answer) == (503, "temporarily_unavailable", text)
    assert answer.headers["retry-after"] == "1"
    assert (in_force(parts), stored(parts)) == (before, [KEY_VALUE, VALUE])
    assert parts.admit(token).key.value == KEY_VALUE
    assert parts.events(kind="key.set", request_id="request-1") == ()


@dataclass
class Unheard:
    """The keys over a store whose answer to the commit is lost."""

    keys: Keys

    def key_info(self, name: str) -> KeyInfo | None:
        return self.keys.key_info(name)

    def set_key(self, name: str, version: KeyVersion, event: Event, replaces: str | None = None) -> None:
        self.keys.set_key(name, version, event, replaces)
        raise StateUncertain


def test_stored_and_perhaps_in_force(parts: Parts) -> None:
    """Where the answer of the state was lost, a stored value is not said to be out of force."""
    answer = put(admin_door(parts, keys=Unheard(parts.control)), {"value": VALUE})
    text = "the value was stored and may or may not be in force: look, or send it again"
    assert problem(answer) == (503, "temporarily_unavailable", text)


def test_key_removed_meanwhile(parts: Parts) -> None:
    """A key that the policy loses while its value is stored is a 404."""
    without = WITH_GENERIC.replace("  anthropic: {provider: anthropic}\n", "")
    door = meanwhile(parts, lambda: parts.apply(without))
    assert problem(put(door, {"value": VALUE}, "anthropic"))[:2] == (404, "not_found")


def test_unstored_value(parts: Parts, door: Door) -> None:
    """A value that could not be stored is not put in force."""
    before = in_force(parts)
    (parts.directory / "provider-keys.json").write_text("{")
    answer = put(door, {"value": VALUE})
    assert (answer.status, answer.json["title"]) == (503, "temporarily_unavailable")
    assert in_force(parts) == before
    assert parts.events(kind="key.set", request_id="request-1") == ()


# on one machine


def test_set_practice_key(running: Running) -> None:
    """With practice parts, a key is sent to the practice provider only."""
    real = json.loads((running.state / "provider-keys.json").read_text())["anthropic"]
    value = next(iter(real.values()))["value"]
    answer = running.administer("PUT", f"{KEYS}/anthropic?probe=false", {"value": value})
    assert answer.status == 200
    assert answer.json["origin"] == running.provider.replace("127.0.0.1", "localhost")
    token = running.token("8301", "anthropic")
    assert running.complete(token, "/anthropic/v1/messages").status == 200
    refused = running.administer("PUT", f"{KEYS}/anthropic", {"value": value, "origin": "https://api.anthropic.com"})
    assert (refused.status, refused.json["title"]) == (400, "invalid_request")


@pytest.mark.slow
def test_set_key_in_every_worker(tmp_path: Path) -> None:
    """A new value is used at the next call of every worker process."""
    with start("--workers", "2", directory=tmp_path) as running:
        token = running.token("8302")
        assert {running.complete(token).status for _ in range(6)} == {200}
        assert running.administer("PUT", f"{KEYS}/openai?probe=false", {"value": VALUE}).status == 200
        assert {running.complete(token).status for _ in range(6)} == {401}  # the practice provider knows another one
        seen = call("GET", f"{running.provider}/_seen").json["seen"]
        assert [one["headers"]["authorization"] for one in seen][-6:] == [f"Bearer {VALUE}"] * 6
        assert running.administer("PUT", f"{KEYS}/openai", {"value": VALUE, "origin": VALUE}).status == 400
        assert VALUE not in running.log.read_text()


@pytest.mark.parametrize("path", ["%00", "a%2Fb", "..%2Fopenai", "openai%20", "x" * 300, quote(VALUE)])
def test_odd_key_name(running: Running, path: str) -> None:
    """An odd key name over HTTP is a 404."""
    answer = running.administer("PUT", f"{KEYS}/{path}?probe=false", {"value": VALUE})
    assert (answer.status, answer.json["detail"]) == (404, "the policy names no such key")


def test_real_keys_need_https(tmp_path: Path) -> None:
    """With real keys, a machine accepts https origins only."""
    (tmp_path / "p.yaml").write_text(POLICY.replace("preset: practice", "preset: github-actions"))
    machine = Machine(tmp_path / "state", Urls("http://127.0.0.1:9", "http://127.0.0.1:9", None, None))
    machine.prepare(tmp_path / "p.yaml", {})
    ports = machine.admin_ports()
    door = Door(app.admin_app(lambda: ports))
    assert put(door, {"value": VALUE, "origin": "http://localhost:9000"}).status == 400
    assert put(door, {"value": VALUE}, probe="false").json["origin"] == "https://api.openai.com"
    assert machine.control().key_info("openai") is not None
    with pytest.raises(Refusal, match="provider_key_missing"):
        machine.edge_ports().edge.provider_keys.get("anthropic", "x")
    Machine.open(tmp_path / "state").prepare(None, {})
    kept = json.loads((tmp_path / "state" / "provider-keys.json").read_text())
    assert [one["value"] for one in kept["openai"].values()] == [VALUE]  # a restart forgets no key that was set


class Answering:
    """A provider that says this of every key, and notes which it was asked of."""

    def __init__(self, probed: Probed, why: str) -> None:
        self._answer, self.asked = (probed, why), list[ProviderKey]()

    def probe(self, key: ProviderKey, provider: str) -> tuple[Probed, str]:
        assert provider == "openai"
        self.asked.append(key)
        return self._answer


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize(
    ("probed", "why", "refused", "told"),
    [
        (Probed.REFUSED, "status_401", (422, "key_refused"), "does not accept this value (status_401)"),
        (
            Probed.UNKNOWN,
            "status_429",
            (503, "temporarily_unavailable"),
            "did not say whether this value works (status_429)",
        ),
        (
            Probed.UNKNOWN,
            "too_slow",
            (503, "temporarily_unavailable"),
            "(too_slow), and nothing was changed; try again, or",
        ),
    ],
)
def test_what_is_unknown_is_not_promoted(  # noqa: PLR0917  a case
    parts: Parts, probed: Probed, why: str, refused: tuple[int, str], told: str, dry_run: str
) -> None:
    """A value that the provider refuses, or says nothing of, is neither stored nor put in force, and is not in the answer."""
    before = in_force(parts), stored(parts), parts.events()
    answer = put(admin_door(parts, key_probe=Answering(probed, why)), {"value": VALUE}, dry_run=dry_run)
    status, title, detail = problem(answer)
    assert ((status, title), told in detail) == (refused, True), answer
    assert VALUE not in answer.body.decode()
    assert (in_force(parts), stored(parts), parts.events()) == before


def test_a_probe_has_the_new_value(parts: Parts) -> None:
    """The provider is asked about the value that is to be set, at the origin and in the header that it will have."""
    asked = Answering(Probed.RESTRICTED, "status_403")
    answer = put(admin_door(parts, key_probe=asked), {"value": VALUE})
    assert (answer.status, answer.json["probe"]) == (200, "restricted")
    assert [(one.value, one.origin, one.header) for one in asked.asked] == [
        (VALUE, "https://api.openai.com", "authorization")
    ]


def test_a_probe_can_be_left_out(parts: Parts) -> None:
    """Without a probe nobody is asked, and the answer says so."""
    asked = Answering(Probed.REFUSED, "status_401")
    answer = put(admin_door(parts, key_probe=asked), {"value": VALUE}, probe="false")
    assert (answer.status, answer.json["probe"], asked.asked) == (200, "skipped", [])
