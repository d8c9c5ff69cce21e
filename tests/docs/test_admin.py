"""docs/admin.md is true: each command works as it stands there, and is answered with what it shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib.openapi.routes import ADMIN
from local.practice import policy as practice
from local.practice.key_account import MANAGEMENT_KEY
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT
from tests.running import ROOT, Answer, Running, start

PAGE = (ROOT / "docs" / "admin.md").read_text()
OPEN = ("claims", "fields", "detail", "refused_tokens", "refused_calls", "models")
"""Members whose contents are not compared."""
REFUSED = {"windw": 400, "/mint": 409, '-X DELETE "$KEYBROKER/admin/keys/': 409}
"""Commands that the page shows being refused, by a part of each, and the status."""


@dataclass(frozen=True)
class Example:
    """A command of the page, and what it shows as the answer."""

    command: str
    shown: str


def examples() -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if not command.startswith("SUB="):
                yield Example(command, shown)


EXAMPLES = list(examples())


@dataclass
class Reader:
    """A reader with the page at hand, who sends each command as curl would."""

    running: Running
    revocation: str = ""

    def send(self, command: str) -> Answer:
        """Send a command's request, signed."""
        values = {"KEYBROKER": self.running.broker, "SUB": quote(self.running.sub("1234"), safe="")}
        values |= {"REVOCATION": self.revocation}
        kb = command.rpartition(" | ")[2]
        _, *words = shlex.split(re.sub(r"\$([A-Z]+)", lambda name: values[name[1]], kb))
        method, headers, body, url = "", {}, None, ""
        while words:
            word = words.pop(0)
            if word == "-X":
                method = words.pop(0)
            elif word == "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name.lower()] = value
            elif word == "-d":
                body = self._body(words.pop(0), managed="settings" in command)
            else:
                assert not url, f"one address, not {word}"
                url = word
        return self.running.administer(method or ("GET" if body is None else "POST"), self._path(url), body, headers)

    def _path(self, url: str) -> str:
        assert url.startswith(f"{self.running.broker}/admin/"), url
        return url.removeprefix(self.running.broker)

    def _body(self, data: str, *, managed: bool) -> object:
        policy = practice.POLICY.replace("ttl: 15m", "ttl: 10m", 1)
        management = {"value": MANAGEMENT_KEY, "settings": {"project": PROJECT, "service_account": SERVICE_ACCOUNT}}
        typed = management if managed else {"value": "sk-made-up-0123456789abcdef"}
        files = {"@policy.json": {"text": policy}, "@-": typed}
        return files.get(data) or json.loads(data)


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, Answer]]:
    """What each command was answered with, in the order of the page."""
    with start(policy=practice.POLICY) as running:
        for _ in range(2):
            token = running.token("1234", grant="practice-ci")
            running.complete(token)
        reader, found = Reader(running), {}
        for example in EXAMPLES:
            found[example.command] = answer = reader.send(example.command)
            if answer.status == 201:
                reader.revocation = answer.json["id"]
        yield found


def same_members(shown: Any, found: Any, place: str = "") -> None:  # noqa: ANN401  any JSON
    """Check that what is shown has the members of what was answered, whatever their values."""
    assert type(shown) is type(found) or None in (shown, found), place
    if isinstance(shown, dict):
        assert shown.keys() == found.keys(), place
        for name in shown.keys() - set(OPEN):
            same_members(shown[name], found[name], f"{place}.{name}")
    elif isinstance(shown, list) and shown and found:
        same_members(shown[0], found[0], f"{place}[0]")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.command[:60])
def test_command_answers(answers: dict[str, Answer], example: Example) -> None:
    """Each command of the page is answered with the members that the page shows."""
    answer = answers[example.command]
    refused = next((status for part, status in REFUSED.items() if part in example.command), None)
    assert answer.status == refused if refused else answer.status in (200, 201), answer
    if example.shown.rstrip().endswith("…}"):  # too long a document to be shown
        return
    shown = [json.loads(one) for one in re.sub(r"\n ", " ", example.shown).splitlines()]
    found = [json.loads(one) for one in answer.body.decode().splitlines()]
    assert len(shown) == len(found)
    for left, right in zip(shown, found, strict=True):
        same_members(left, right)


def test_every_route_has_a_command() -> None:
    """Every route of the administration has a command on the page."""
    routes = {(route.method, re.sub(r"\\\{.*?\\\}", "[^/?]+", re.escape(route.path))) for route in ADMIN}
    commands = [one.command for one in EXAMPLES]
    for method, path in routes:
        ways = {"GET": "(?!.* -d )(?!-X)", "POST": "(?=.* -d )(?!-X)"}.get(method, f"-X {method} ")
        form = re.compile(rf'(?:.* \| )?kb {ways}"\$KEYBROKER{path}["?]')
        assert any(form.match(command) for command in commands), (method, path)


def test_curl_is_accepted(running: Running) -> None:
    """The page's `kb` function signs with curl itself, and the broker accepts it."""
    curl = shutil.which("curl")
    if (
        curl is None
        or b"--aws-sigv4" not in subprocess.run([curl, "--help", "all"], capture_output=True, check=True).stdout
    ):
        pytest.skip("there is no curl here that signs requests")
    function = re.search(r"^kb\(\) \{(.*?)\}$", PAGE, re.MULTILINE | re.DOTALL)
    assert function is not None
    keys = {"AWS_ACCESS_KEY_ID": running.admin["access_key_id"]}
    keys |= {"AWS_SECRET_ACCESS_KEY": running.admin["secret_access_key"], "PATH": "/usr/bin:/bin:/usr/local/bin"}
    plain = (
        '"$KEYBROKER/admin/keys"',
        '"$KEYBROKER/admin/revocations?dry_run=true" -d \'{"scope": "everything", "reason": "a drill"}\'',
    )
    for arguments in plain:
        script = f"kb() {{{function[1]}}}\nkb {arguments}"
        done = subprocess.run(["bash", "-c", script], env={**keys, "KEYBROKER": running.broker}, capture_output=True, check=True, timeout=30)  # fmt: skip
        assert json.loads(done.stdout).keys() & {"items", "principals"}, done.stdout
