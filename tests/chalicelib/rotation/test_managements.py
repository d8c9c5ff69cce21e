"""What makes keys at providers, over practice APIs on real sockets; OpenAI's own SDK sees that one is as the real one."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import openai
import pytest

from chalicelib.issuers.fetch import send
from chalicelib.rotation import management
from chalicelib.rotation.management import KeyManagement, ListedKey, ManagementError
from chalicelib.rotation.managements import MANAGEMENTS
from local.practice.key_account import MANAGEMENT_KEY, KeyAccount
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "openai": {"project": PROJECT, "service_account": SERVICE_ACCOUNT},
    "openrouter": {"limit": "12.5"},
}
BOTH = pytest.mark.parametrize("name", sorted(MANAGEMENTS))


def made(name: str, url: str, credential: str = MANAGEMENT_KEY, **settings: str) -> KeyManagement:
    """What makes keys at one of the practice APIs."""
    return MANAGEMENTS[name](url, credential, {**SETTINGS[name], **settings}, send)


def status(url: str, value: str) -> int:
    """What a call with a key is answered."""
    return send("GET", f"{url}/v1/models", {"authorization": f"Bearer {value}"}, 10.0)[0]


@BOTH
def test_a_key_is_made_listed_and_deleted(provider: str, name: str) -> None:
    """A key that is made works, is listed by its name, and is refused once it was deleted; deleting it again is none that fails."""
    keys = made(name, provider)
    created = keys.create("keybroker/here/openai/r1/a1")
    keys.create("someone else's")
    assert status(provider, created.value) == 200
    [listed] = keys.named("keybroker/here/openai/")
    assert (listed.id, listed.name, listed.created > 0) == (created.id, "keybroker/here/openai/r1/a1", True)
    keys.delete(created.id)
    keys.delete(created.id)
    assert keys.named("keybroker/") == ()
    assert status(provider, created.value) == 401


@BOTH
def test_a_management_key_alone_manages(provider: str, name: str) -> None:
    """A key for calls makes no keys, and a management key makes no calls."""
    with pytest.raises(ManagementError, match=r"^status_401$"):
        made(name, provider, "sk-real-openai").named("x")
    assert status(provider, MANAGEMENT_KEY) == 401


@BOTH
def test_a_long_list_is_read_whole(
    provider: str, accounts: dict[str, KeyAccount], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All pages are read; of a list that is too long nothing is concluded."""
    for number in range(250):
        accounts[name].make(f"keybroker/{number}", "sk-")
    assert len(made(name, provider).named("keybroker/")) == 250
    assert {one.name for one in made(name, provider).named("keybroker/24")} == {
        "keybroker/24",
        *(f"keybroker/24{digit}" for digit in range(10)),
    }
    for module in ("openai", "openrouter"):
        monkeypatch.setattr(f"chalicelib.rotation.{module}.LISTED_LIMIT", 200)
    with pytest.raises(ManagementError, match=r"^too_many$"):
        made(name, provider).named("keybroker/")


@BOTH
@pytest.mark.parametrize(
    ("fault", "reason"), [((True, 500), "status_500"), ((False, 429), "status_429"), ((True, 0), "too_slow")]
)
def test_a_fault_is_a_fixed_word(
    provider: str,
    accounts: dict[str, KeyAccount],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    fault: tuple[bool, int],
    reason: str,
) -> None:
    """A provider that fails, or does not answer in time, is said to in a fixed word; what it made is found by its name."""
    monkeypatch.setattr("chalicelib.rotation.api_call.CALL_SECONDS", 0.5 if not fault[1] else management.CALL_SECONDS)
    accounts[name].faults.answers["create"] = [fault]
    with pytest.raises(ManagementError) as caught:
        made(name, provider).create("keybroker/x")
    assert caught.value.reason == reason
    assert len(made(name, provider).named("keybroker/x")) == int(fault[0])


def test_what_cannot_be_deleted_expires(provider: str, accounts: dict[str, KeyAccount]) -> None:
    """Where a service account's key cannot be deleted, as in OpenAI's older API, it expires within a minute."""
    clock = [1_800_000_000.0]
    accounts["openai"].clock = lambda: clock[0]
    keys = made("openai", provider)
    created = keys.create("keybroker/x")
    accounts["openai"].faults.keeps_service_accounts_keys = True
    keys.delete(created.id)
    clock[0] += 60
    assert status(provider, created.value) == 401


def test_no_scopes_are_not_all(provider: str) -> None:
    """Scopes are sent as they were set; none at all is never sent, since an empty list is all of them."""
    kind = MANAGEMENTS["openai"]
    for scopes in ("", ",", "a b", "x" * 65, "models;read"):
        with pytest.raises(ValueError, match=r"^scopes must be"):
            kind.check({**SETTINGS["openai"], "scopes": scopes})
    kind.check({**SETTINGS["openai"], "scopes": "api.model.read, api.responses.write"})
    sent: list[bytes] = []

    def keeping(method: str, url: str, headers: Mapping[str, str], within: float, body: bytes) -> tuple[int, bytes]:
        sent.append(body)
        return send(method, url, headers, within, body)

    for settings in ({}, {"scopes": "api.model.read"}):
        kind(provider, MANAGEMENT_KEY, {**SETTINGS["openai"], **settings}, keeping).create("x")
    assert sent == [b'{"name": "x"}', b'{"name": "x", "scopes": ["api.model.read"]}']


@pytest.mark.parametrize("value", ["../x", "a/b", "", "a?b", "a\n", "x" * 129, "%2e", 1, None])
def test_an_id_means_nothing_else(value: object) -> None:
    """An id, of a setting or of a provider's answer, that could mean something in a path is not sent."""

    def answering(*_request: object) -> tuple[int, bytes]:
        import json  # noqa: PLC0415  here alone

        about = {"id": value, "hash": value, "name": "keybroker/x"}
        return 200, json.dumps({**about, "value": "sk-0123456789", "key": "sk-0123456789", "data": about}).encode()

    for name, kind in MANAGEMENTS.items():
        keys = kind("http://localhost:9", MANAGEMENT_KEY, SETTINGS[name], answering)
        with pytest.raises(ManagementError, match=r"^malformed$"):
            keys.create("x")
        if isinstance(value, str):
            with pytest.raises(ManagementError, match=r"^malformed$"):
                keys.delete(value)
            with pytest.raises(ValueError, match="must be an id"):
                kind.check({**SETTINGS[name], "project": value, "workspace_id": value})


@BOTH
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"data": 1}', b'{"data": [1]}', b"{" * 99_999])
def test_rubbish_is_no_answer(name: str, body: bytes) -> None:
    """What is not of the API's form is a fixed word, and nothing is taken from it."""
    keys = MANAGEMENTS[name]("http://localhost:9", MANAGEMENT_KEY, SETTINGS[name], lambda *_: (200, body))
    for act in (lambda: keys.create("x"), lambda: keys.named("x")):
        with pytest.raises(ManagementError, match=r"^malformed$"):
            act()


@BOTH
def test_no_credential_is_quoted(provider: str, name: str) -> None:
    """Neither the management key nor a key's value is in an exception, its cause or a repr."""
    keys = made(name, provider)
    created = keys.create("x")
    said = repr(keys) + repr(created) + repr(keys.named(""))
    for url in (provider + "/nowhere", "http://localhost:9", "http://[", "x"):
        try:
            made(name, url, MANAGEMENT_KEY).create("x")
        except ManagementError as fault:
            said += "".join(traceback.format_exception(fault))
    assert MANAGEMENT_KEY not in said
    assert created.value not in said


def test_openai_s_own_sdk_reads_the_practice_api(provider: str, accounts: dict[str, KeyAccount]) -> None:
    """The practice API answers what OpenAI's SDK reads, and refuses what the real one refuses."""
    client = openai.OpenAI(api_key="unused", admin_api_key=MANAGEMENT_KEY, base_url=f"{provider}/v1", max_retries=0)
    projects = client.admin.organization.projects
    created = projects.service_accounts.api_keys.create(SERVICE_ACCOUNT, project_id=PROJECT, name="a name")
    assert (created.object, created.name) == ("organization.project.service_account.api_key", "a name")
    [listed] = list(projects.api_keys.list(PROJECT))
    assert (listed.id, listed.name, listed.redacted_value != created.value) == (created.id, "a name", True)
    projects.api_keys.update(created.id, project_id=PROJECT, expires_in_seconds=3600)
    assert accounts["openai"].keys[created.id].expires
    assert projects.api_keys.delete(created.id, project_id=PROJECT).deleted
    with pytest.raises(openai.NotFoundError):
        projects.api_keys.delete(created.id, project_id=PROJECT)
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.api_keys.create(SERVICE_ACCOUNT, project_id=PROJECT, extra_body={"admin": True})
    accounts["openai"].faults.longest_life = 60
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.api_keys.create(SERVICE_ACCOUNT, project_id=PROJECT)


def test_a_time_is_read() -> None:
    """OpenRouter's times, with and without fractions, are epoch seconds; anything else is none."""
    rows = ["2026-11-29T00:00:01Z", "2026-11-29T00:00:01.5+00:00", "yesterday", None]
    body = ",".join(
        f'{{"hash": "h", "name": "n", "created_at": {"null" if one is None else chr(34) + one + chr(34)}}}'
        for one in rows
    )
    keys = MANAGEMENTS["openrouter"]("http://localhost:9", "x", {}, lambda *_: (200, f'{{"data": [{body}]}}'.encode()))
    assert [one.created for one in keys.named("n")] == [1_795_910_401, 1_795_910_401, 0, 0]
    assert keys.named("n")[0] == ListedKey("h", "n", 1_795_910_401)
