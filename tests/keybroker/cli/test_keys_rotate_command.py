"""`keybroker keys rotate`, `rollback`, `manage` and `list --orphans`, over a running broker and the practice provider's APIs."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.practice.key_account import MANAGEMENT_KEY
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT
from tests.keybroker.cli.canned_server import serving
from tests.keybroker.cli.keybroker_command import COMMAND, SECONDS, Done, administrator, bare, run
from tests.keybroker.cli.rotation_answers import answer, item, listed, rotation, state
from tests.running import Running, call, start, wait_until

SETTINGS = ("--set", f"project={PROJECT}", "--set", f"service_account={SERVICE_ACCOUNT}")
NOW_GONE = "no_version_before: there is no value to go back to"


@pytest.fixture
def by_hand() -> Iterator[Running]:
    """Start a broker whose keys are replaced by hand."""
    with start() as running:
        yield running


@pytest.fixture
def managed(by_hand: Running) -> Running:
    """Let it replace `openai` by the provider's API."""
    done = run("keys", "manage", "openai", *SETTINGS, environ=administrator(by_hand), stdin=f"{MANAGEMENT_KEY}\n")
    assert done.code == 0, done.err
    return by_hand


def keys(running: Running, *arguments: str, stdin: str | None = None) -> Done:
    """Run a command of `keybroker keys`, which never shows a value."""
    done = run("keys", *arguments, environ=administrator(running), stdin=stdin)
    stored = json.loads((running.state / "provider-keys.json").read_text())
    for value in (one["value"] for versions in stored.values() for one in versions.values()):
        assert value not in done.out + done.err
    assert MANAGEMENT_KEY not in done.out + done.err
    return done


def made(running: Running, name: str) -> str:
    """Make a key at the provider, as people do on its page; return its value."""
    path = f"/v1/organization/projects/{PROJECT}/service_accounts/{SERVICE_ACCOUNT}/api_keys"
    answered = call("POST", running.provider + path, {"name": name}, {"authorization": f"Bearer {MANAGEMENT_KEY}"})
    return str(answered.json["value"])


def shown(running: Running) -> dict[str, object]:
    """Return `openai` as the list has it."""
    items = running.administer("GET", "/admin/keys").json["items"]
    return next(one for one in items if one["name"] == "openai")


@pytest.mark.slow
def test_a_key_is_replaced_and_put_back(managed: Running) -> None:
    """One command makes a key and puts it in force, another goes back; calls of tokens from before go on throughout."""
    token, old = managed.token("1"), str(shown(managed)["version"])
    rehearsed = keys(managed, "rotate", "openai", "--dry-run")
    assert (rehearsed.code, "nothing was changed" in rehearsed.err) == (0, True)
    assert shown(managed)["version"] == old
    done = keys(managed, "rotate", "openai", "--overlap", "30m")
    assert (done.code, done.out) == (0, "")
    assert "delete it by hand at https://platform.openai.com/api-keys after" in done.err
    new = str(shown(managed)["version"])
    assert done.err.startswith(f"in force: openai version {new}, made by the provider's API\n")
    assert managed.complete(token).status == 200
    again = keys(managed, "rotate", "openai")
    assert again.err.startswith("going on with the rotation that ")
    assert (f"in force as before: openai version {new}\n" in again.err, again.code) == (True, 0)
    back = keys(managed, "rollback", "openai")
    assert back.err.startswith(f"in force: openai version {old} again, from the next call on\n")
    assert managed.complete(token).status == 200


@pytest.mark.slow
def test_a_leaked_key_is_replaced_and_reported(managed: Running) -> None:
    """After a leak the key is deleted at its provider at once, there is no way back, and those who used it are named."""
    assert keys(managed, "rotate", "openai", "--overlap", "0s").code == 0
    token = managed.token("2")
    assert managed.complete(token).status == 200
    done = keys(managed, "rotate", "openai", "--leaked")
    assert (done.code, managed.complete(token).status) == (0, 200)
    assert "deleted at the provider: the key key_" in done.err
    assert "delete it NOW" not in done.err
    assert "no token was ended, and none has to be" in done.err
    heading, row = done.out.splitlines()
    assert heading.split() == ["NAME", "PRINCIPAL", "GRANT", "CALLS", "SINCE", "SEEN"]
    assert row.split()[:4] == ["octo-org/octo-repo", managed.sub("2"), "ci", "1"]
    refused = keys(managed, "rollback", "openai")
    assert (refused.code, NOW_GONE in refused.err) == (3, True)
    again = json.loads(keys(managed, "rotate", "openai", "--leaked", "--output", "json").out)
    assert (again["rotation"], len(again["deleted"]), again["used"][0]["principal"]) == (None, 1, managed.sub("2"))


@pytest.mark.slow
def test_orphans_are_listed(managed: Running) -> None:
    """A key of ours at the provider that nobody uses is listed, with where to delete it, and is no failure."""
    assert keys(managed, "list", "--orphans").err == "none\n"
    keys(managed, "rotate", "openai")
    (ours,) = managed.administer("GET", "/admin/keys/openai/provider-keys").json["items"]
    made(managed, orphan := ours["name"].rpartition("/")[0][:-1] + "x/lost")
    done = keys(managed, "list", "--orphans")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert orphan in done.out
    assert done.err == "nobody uses these: delete them by id at https://platform.openai.com/api-keys\n"
    assert [one["use"] for one in json.loads(keys(managed, "list", "--orphans", "--output", "json").out)] == ["orphan"]


@pytest.mark.slow
def test_a_key_is_replaced_by_hand(by_hand: Running, tmp_path: Path) -> None:
    """Where there is no API, the command says where keys are made, sets the value, and says what is left to do."""
    old, file = shown(by_hand)["version"], tmp_path / "new"
    done = keys(by_hand, "rotate", "openai", stdin=made(by_hand, "by hand"))
    assert done.code == 0
    first, second, *rest = done.err.splitlines()
    assert first == "make a new key with the same rights at https://platform.openai.com/api-keys"
    assert second.startswith(f"in force: openai version {shown(by_hand)['version']}, sent to ")
    assert rest[0].startswith(
        "warning: the old key still works at the provider: delete it at https://platform.openai.com"
    )
    assert f"openai version {old} again" in keys(by_hand, "rollback", "openai").err
    file.write_text(made(by_hand, "after a leak"))
    file.chmod(0o600)
    leaked = keys(by_hand, "rotate", "openai", "--leaked", "--file", str(file))
    assert (leaked.code, "delete it NOW at https://platform.openai.com/api-keys" in leaked.err) == (0, True)
    assert NOW_GONE in keys(by_hand, "rollback", "openai").err


@pytest.mark.slow
def test_a_value_that_is_set_after_a_leak(managed: Running) -> None:
    """A value of one's own can be set without a way back, where an API would replace the key, too."""
    assert keys(managed, "set", "openai", "--leaked", stdin=made(managed, "in a hurry")).code == 0
    assert NOW_GONE in keys(managed, "rollback", "openai").err


@pytest.mark.slow
def test_a_value_that_does_not_work_changes_nothing(by_hand: Running) -> None:
    """By hand, too, a value comes into force only if the provider accepts it; a dry run never does."""
    before = shown(by_hand)["version"]
    refused = keys(by_hand, "rotate", "openai", stdin="sk-made-up-0123456789abcdef")
    assert (refused.code, "key_refused" in refused.err) == (3, True)
    assert keys(by_hand, "rotate", "openai", "--dry-run", stdin=made(by_hand, "x")).code == 0
    assert shown(by_hand)["version"] == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--leaked", "--overlap", "1h"), "--leaked leaves no overlap: leave --overlap out"),
        (("--abort", "--dry-run"), "--abort takes no other option"),
        (("--overlap", "soon"), "'soon' is not a length of time"),
        (("--overlap", "1h"), "openai is replaced by hand: both values work until you delete the old one"),
    ],
)
def test_options_that_do_not_go_together(running: Running, arguments: tuple[str, ...], text: str) -> None:
    """Options that contradict each other are refused before anything is sent."""
    done = run("keys", "rotate", "openai", *arguments, environ=administrator(running))
    assert (done.code, text in done.err) == (1, True)


def test_a_management_key_as_a_setting(running: Running) -> None:
    """A management key that is given as a setting by mistake is not shown."""
    done = run("keys", "manage", "openai", "--set", MANAGEMENT_KEY, environ=administrator(running))
    assert (done.code, MANAGEMENT_KEY in done.err) == (1, False)


def test_a_value_for_a_key_by_api_is_refused(running: Running, tmp_path: Path) -> None:
    """A value of one's own is not taken where the provider's API makes it."""
    with serving() as server:
        server.turns = [listed(item("v1"))]
        environ = {**administrator(running), "KEYBROKER_URL": server.url}
        done = run("keys", "rotate", "openai", "--file", str(tmp_path), environ=environ)
    assert (done.code, "keybroker keys set openai" in done.err) == (1, True)


def test_an_interrupted_rotation_says_how_to_go_on(running: Running) -> None:
    """Ctrl-C while it waits ends the command alone: it says how to go on."""
    failing = answer(200, state("v1", rotation("creating", "status_500")))
    with serving(*failing) as server:
        server.turns = [listed(item("v1")), answer(200, {"items": [], "next": None})]
        environ = {**bare(), **administrator(running), "KEYBROKER_URL": server.url}
        command = [*COMMAND, "keys", "rotate", "openai"]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: len(server.seen) == 3, SECONDS)
            assert process.stderr is not None
            first = process.stderr.readline()  # it has the answer, and waits
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
    assert (process.returncode, first) == (130, "the provider failed or was not reached (status_500); trying again\n")
    assert rest.splitlines()[0] == "it goes on where it stopped when you send it again: keybroker keys rotate openai"
