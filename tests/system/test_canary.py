"""Plays the whole story with values that are watched for, and then looks for them in everything that came out."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import select
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chalicelib.audit import Event
from chalicelib.edge.call import Admitted, Call
from chalicelib.errors import StateUnavailable, Unavailable
from chalicelib.exchange.exchange import TokenRequest
from chalicelib.policy.errors import NoGrant
from chalicelib.providers.keys import ProviderKey
from chalicelib.tokens import jws
from chalicelib.tokens.errors import InvalidTokenError
from chalicelib.tokens.signer import IssuedToken
from local.provider_key_file import ProviderKeyFile
from local.sqlite.control import SqliteControl
from local.sqlite.state_file import StateFile
from tests.contracts.samples import key_version
from tests.parts import mint
from tests.running import POLICY, Answer, Running, call, start

KEY = "sk-canary-0123456789abcdef"
WRONG_KEY = f"sk-canary-wrong-{secrets.token_hex(12)}"
MIRROR_KEY = f"sk-canary-mirror-{secrets.token_hex(12)}"
ELSEWHERE = "http://localhost:1025"
"""Where the provider's redirects lead."""
COOKIE = secrets.token_hex(12)
GENERATE = "/v1beta/models/gemini-pro:generateContent"
MIRRORED = (
    POLICY.replace("issuers:", "  google:    {provider: gemini}\nissuers:")
    + """\
  gemini:
    key: google
    to: {issuer: practice, claims: {repository_owner_id: "9919"}}
    scope: ["POST:/v1beta/models/gemini-pro:generateContent"]
    quota: {tokens: 1000/hour, calls: [100000/minute]}
"""
)
RETRY = "0123456789abcdef0123456789abcdef"


@dataclass
class Story:
    """What happened.

    subjects, issued: tokens, shown by their holders. answers: all but those that hand out tokens. relayed: those that a
    provider made up on purpose, by what it was asked.
    """

    running: Running
    subjects: list[str] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    relayed: dict[str, Answer] = field(default_factory=dict)
    mirror: Mirror | None = None

    def mint(self, repository_id: str, **claims: object) -> str:
        """An identity token that is watched for from now on."""
        self.subjects.append(self.running.mint(repository_id, **claims))
        return self.subjects[-1]

    def token(self, repository_id: str, **more: str) -> str:
        """A token of ours that is watched for from now on."""
        answer = self.running.exchange(self.mint(repository_id), **more)
        assert answer.status == 200, answer
        self.issued.append(answer.json["access_token"])
        rest = {name: value for name, value in answer.json.items() if name != "access_token"}
        self.answers.append(Answer(200, answer.headers, json.dumps(rest).encode()))
        return self.issued[-1]

    def see(self, status: int, answer: Answer) -> None:
        """Keep an answer, which must have this status."""
        assert answer.status == status, answer
        self.answers.append(answer)


class Mirror(ThreadingHTTPServer):
    """A provider that shows in redirect, cookie and error all that it was sent, but for its key. asked: what that was."""

    asked: list[tuple[str, dict[str, str]]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mirrored)
        self.asked = []

    @property
    def origin(self) -> str:
        """Where it is, as a key's origin."""
        return f"http://localhost:{self.server_port}"


class _Mirrored(BaseHTTPRequestHandler):
    server: Mirror

    def do_POST(self) -> None:
        """Redirect to another provider, set a cookie, and quote the request."""
        self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers))
        body = json.dumps({name: value for name, value in headers.items() if name != "x-goog-api-key"}).encode()
        self.send_response(307)
        self.send_header("location", f"{ELSEWHERE}{self.path}")
        self.send_header("set-cookie", f"session={COOKIE}; Path={self.path.partition('?')[0]}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def mirror() -> Iterator[Mirror]:
    """Start it, and end it."""
    with Mirror() as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with start(directory=tmp_path_factory.mktemp("canary"), policy=MIRRORED) as running, mirror() as provider:
        told = Story(running, mirror=provider)
        _exchanges(told)
        _redirects(told, provider)
        _calls(told)
        _administration(told)
        _faults(told)
        yield told


def _exchanges(story: Story) -> None:
    running = story.running
    subject = story.mint("7201")
    for key in (RETRY, RETRY):
        answer = running.exchange(subject, idempotency_key=key)
        assert answer.status == 200
        story.issued.append(answer.json["access_token"])
    story.see(400, running.exchange(subject))  # replayed
    story.see(400, running.exchange(story.mint("7201", repository_owner_id="1")))  # no grant
    story.see(400, running.exchange(story.mint("7201", event_name="workflow_run")))
    story.see(400, running.exchange(story.mint("7201", aud="another")))
    story.see(400, running.exchange(story.mint("7201"), scope="GET:/v1/files"))
    story.see(400, running.exchange(story.mint("7201")[:-4] + "AAAA"))  # another signature
    story.see(400, running.exchange(story.issued[0]))  # a token of ours as a subject token
    faulty = [
        json.dumps({"subject_token": story.mint("7201"), "grant_type": "x"}).encode(),
        json.dumps({"subject_token": story.mint("7201")}).encode()[:-1],
        b'{"assertion": "' + story.mint("7201").encode() + b'", "assertion": ""}',
    ]
    for body in faulty:
        story.see(400, call("POST", f"{running.broker}/token", body))
    story.see(415, call("POST", f"{running.broker}/token", faulty[0], {"content-type": "text/plain"}))
    bearer = {"authorization": f"Bearer {story.issued[0]}"}
    story.see(404, call("GET", f"{running.broker}/{story.issued[0]}", None, bearer))
    story.see(405, call("GET", f"{running.broker}/token?subject_token={story.mint('7201')}", None, bearer))


def _calls(story: Story) -> None:
    running, token = story.running, story.token("7202")
    story.see(200, running.complete(token))
    message = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    other = {"x-api-key": story.token("7202", audience="anthropic"), "anthropic-version": "2023-06-01"}
    story.see(200, call("POST", f"{running.edge}/anthropic/v1/messages", message, other))
    story.see(401, running.complete(token[:-4] + "AAAA"))
    story.see(401, running.complete(story.mint("7202")))
    story.see(401, running.complete(token, path="/anthropic/v1/messages"))
    story.see(403, running.complete(token, path="/openai/v1/files"))
    story.see(400, running.complete(token, path="/openai/../x"))
    story.see(400, running.complete(token, **{"x-api-key": story.token("7202")}))
    story.see(400, running.complete(token, path=f"/openai//{token}"))
    story.see(404, running.complete(token, path="/openai"))
    story.see(401, call("GET", f"{running.edge}/{token}/v1/models", None, {"api-key": token}))
    story.see(403, running.complete(token, path=f"/openai/v1/{token}"))


def _redirects(story: Story, provider: Mirror) -> None:
    """A provider that redirects, sets a cookie and quotes what it was sent; and one that is gone."""
    running = story.running
    done = running.administer("PUT", "/admin/keys/google?probe=false", {"value": MIRROR_KEY, "origin": provider.origin})
    story.see(200, done)
    path = f"{running.edge}/google{GENERATE}"
    for name, query, headers in (
        ("query", "?key={}&alt=sse", {}),
        ("header", "?alt=sse", {"x-goog-api-key": "{}"}),
        ("both", "?key={}", {"authorization": "Bearer {}", "cookie": "mine=1"}),
    ):
        token = story.token("7205", audience="google")
        named = {header: value.format(token) for header, value in headers.items()}
        story.relayed[name] = call("POST", path + query.format(token), {"contents": []}, named)
    token = story.token("7205", audience="google")
    named = {"x-goog-api-key": token}
    for query in (f"access_token={token}", f"key={token}&a={token}", f"next=https%3A%2F%2Fa.example%2F%3Ft%3D{token}"):
        story.see(400, call("POST", f"{path}?{query}", {}, named))
    story.see(401, call("POST", f"{path}?access_token={token}", {}))
    gone = {"value": MIRROR_KEY, "origin": "http://localhost:1024"}
    story.see(200, running.administer("PUT", "/admin/keys/google?probe=false", gone))
    story.see(502, call("POST", f"{path}?key={token}", {"contents": []}, patience=0.0))


def _administration(story: Story) -> None:
    running, token = story.running, story.token("7203")
    revocation = running.revoke("principal", running.sub("7203"))
    story.see(403, running.complete(token))
    story.see(400, running.exchange(story.mint("7203")))
    story.see(200, running.administer("DELETE", f"/admin/revocations/{revocation}"))
    story.see(401, running.complete(token))
    story.see(400, running.administer("POST", "/admin/revocations", {"scope": token}))
    story.see(404, running.administer("DELETE", f"/admin/revocations/{token}"))
    story.see(400, running.administer("GET", f"/admin/audit?after={token}"))
    story.see(403, call("GET", f"{running.broker}/admin/audit", None, {"authorization": f"Bearer {token}"}))


def _faults(story: Story) -> None:
    """A key that the provider refuses, a version that is not there, and a grant that cannot be read."""
    running, token = story.running, story.token("7204")
    state = StateFile(running.state / "state.db")
    control, event = SqliteControl(state), Event("id", 1, "key.set", "")
    try:
        [stored] = json.loads((running.state / "provider-keys.json").read_text())["openai"].values()
        wrong = ProviderKey(**{**stored, "version": "wrong", "value": WRONG_KEY})
        ProviderKeyFile(running.state / "provider-keys.json").put("openai", wrong)
        control.set_key("openai", key_version("wrong"), event)
        story.see(401, running.complete(token))  # the provider's own answer
        control.set_key("openai", key_version("nobody-has-it"), event)
        story.see(503, running.impatient().complete(token))
        with state.writing() as connection:
            connection.execute("UPDATE things SET config = '{}' WHERE scope = 'grant' AND id = 'ci'")
        story.see(500, running.complete(token))
        story.see(500, running.exchange(story.mint("7204")))
    finally:
        state.close()


def _values(content: bytes) -> set[str]:
    """Every provider key in the key file."""
    return {one["value"] for versions in json.loads(content).values() for one in versions.values()}


def watched(story: Story) -> dict[str, str]:
    """Every text that must not occur, by what it is."""
    values = _values((story.running.state / "provider-keys.json").read_bytes())
    seen = call("GET", f"{story.running.provider}/_seen").json["seen"]
    names = ("authorization", "x-api-key")
    sent = {one["headers"][name].removeprefix("Bearer ") for one in seen for name in names if name in one["headers"]}
    assert MIRROR_KEY in values
    assert len(values | sent) == 4  # OpenAI's, Anthropic's, Google's, and the wrong one; no token reached the provider
    assert WRONG_KEY in values & sent
    found = {f"key {number}": value for number, value in enumerate(sorted(values | sent))}
    for number, token in enumerate(story.subjects + story.issued):
        found[f"signature {number}"] = token.rpartition(".")[2]
        found[f"signed part {number}"] = token.rpartition(".")[0]
    assert all(len(value) > 20 for value in found.values())
    return found


def spellings(value: str) -> set[bytes]:
    """The value as text, in base64, and percent-encoded."""
    plain = value.encode()
    return {plain, base64.b64encode(plain).rstrip(b"="), urllib.parse.quote(value, safe="").encode()}


def occurring(story: Story, text: bytes) -> list[str]:
    """What occurs in the text, by what it is."""
    return [name for name, value in watched(story).items() if any(one in text for one in spellings(value))]


def test_the_search_finds_each_of_them(story: Story) -> None:
    for name, value in watched(story).items():
        for spelling in spellings(value):
            assert name in occurring(story, b"before " + spelling + b" behind")


def test_no_answer_holds_a_key_or_a_token(story: Story) -> None:
    assert len(story.answers) > 30
    whole = b"".join(json.dumps(dict(answer.headers)).encode() + answer.body for answer in story.answers)
    assert occurring(story, whole) == []


def test_our_answers_redirect_nobody_and_set_no_cookie(story: Story) -> None:
    for answer in story.answers:
        assert not {"location", "set-cookie", "refresh", "content-location"} & {name.lower() for name in answer.headers}


def test_no_answer_of_ours_lets_a_page_in(story: Story) -> None:
    """No answer of ours has a CORS header (docs/adr/0008-no-cors.md)."""
    assert not [one for answer in story.answers for one in answer.headers if one.lower().startswith("access-control-")]


def test_a_providers_redirect_holds_its_own_words_only(story: Story) -> None:
    """A provider's redirect, cookie and error pass as they are, and it was sent no token that it could put into them."""
    assert {name: answer.status for name, answer in story.relayed.items()} == {"query": 307, "header": 307, "both": 307}
    for name, answer in story.relayed.items():
        headers = {header.lower(): value for header, value in answer.headers.items()}
        query = "" if name == "both" else "?alt=sse"
        assert headers["location"] == f"{ELSEWHERE}{GENERATE}{query}"
        assert headers["set-cookie"] == f"session={COOKIE}; Path={GENERATE}"
        assert occurring(story, json.dumps(headers).encode() + answer.body) == []


def test_a_redirect_is_not_followed_with_the_key(story: Story) -> None:
    """The edge sends the key to the key's own origin, once for each call, and remembers no cookie for the next."""
    assert story.mirror is not None
    assert [headers["x-goog-api-key"] for _, headers in story.mirror.asked] == [MIRROR_KEY] * 3
    assert [headers.get("cookie") for _, headers in story.mirror.asked] == [None, None, "mine=1"]
    assert occurring(story, json.dumps([path for path, _ in story.mirror.asked]).encode()) == []


def test_the_log_holds_no_key_and_no_token_and_no_traceback(story: Story) -> None:
    log = story.running.log.read_bytes()
    reasons = set(re.findall(r'"reason": "(\w+)"', log.decode()))
    assert {
        "replayed",
        "no_grant",
        "two_tokens",
        "revoked_principal",
        "provider_key_version",
        "fault_KeyError",
    } <= reasons
    assert occurring(story, log) == []
    assert b"Traceback" not in log


def test_nothing_is_written_to_stdout_but_the_announcement(story: Story) -> None:
    stdout = story.running.process.stdout
    assert stdout is not None
    readable, _, _ = select.select([stdout], [], [], 0)
    assert readable == []


def test_the_audit_holds_no_key_and_no_token(story: Story) -> None:
    after, pages = "", []
    while True:
        page = story.running.administer("GET", f"/admin/audit?limit=200{after}")
        pages.append(page.body)
        if page.json["next"] is None:
            break
        after = f"&after={page.json['next']}"
    kinds = {one["kind"] for one in story.running.administer("GET", "/admin/audit?limit=200").json["items"]}
    assert kinds == {
        "token.issued",
        "token.refused",
        "revocation.made",
        "revocation.lifted",
        "policy.applied",
        "key.set",
    }
    assert occurring(story, b"".join(pages)) == []


def test_the_state_directory_holds_keys_in_the_key_file_only_and_tokens_nowhere(story: Story) -> None:
    files = {path.name: path.read_bytes() for path in story.running.state.rglob("*") if path.is_file()}
    assert {"state.db", "state.db-wal", "provider-keys.json"} <= files.keys()
    for name, content in files.items():
        found = occurring(story, content)
        keys = _values(content) if name == "provider-keys.json" else set()
        assert len(found) == len(keys), (name, found)
        assert all(one.startswith("key ") for one in found)


# what is printed by mistake

_UNVERIFIED = mint()
_PROVIDER_KEY = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", KEY)
_PRINTED: list[tuple[object, str]] = [
    (_PROVIDER_KEY, KEY),
    (Admitted(_PROVIDER_KEY, "sub", "grant", "jti"), KEY),
    (Admitted(_PROVIDER_KEY, "sub", "grant", "jti", "/v1/models", f"q={_UNVERIFIED}"), _UNVERIFIED),
    (IssuedToken(_UNVERIFIED, 900, "GET:/v1/models", "https://edge.example/openai/v1"), _UNVERIFIED),
    (TokenRequest(_UNVERIFIED, "openai", "req-1", idempotency_key=RETRY), _UNVERIFIED),
    (TokenRequest("a.b.c", "openai", "req-1", idempotency_key=RETRY), RETRY),
    (Call(_UNVERIFIED, "openai", "GET", "/v1/models"), _UNVERIFIED),
    (jws.parse(_UNVERIFIED), _UNVERIFIED.rpartition(".")[2]),
]


@pytest.mark.parametrize(
    "show", [repr, str, format, lambda one: f"{one}", lambda one: f"{one!r:>5}", lambda one: f"{[one]}"]
)
@pytest.mark.parametrize(("target", "secret"), _PRINTED, ids=lambda one: type(one).__name__)
def test_what_holds_a_key_or_a_token_redacts_itself(target: object, secret: str, show: Callable[[object], str]) -> None:
    shown = show(target)
    assert type(target).__name__ in shown
    assert secret not in shown


@pytest.mark.parametrize("target", [target for target, _ in _PRINTED], ids=lambda one: type(one).__name__)
def test_what_holds_a_key_or_a_token_does_not_go_into_json_by_mistake(target: object) -> None:
    with pytest.raises(TypeError, match="is not JSON serializable"):
        json.dumps({"detail": [target]})


def test_exceptions_say_fixed_words_only() -> None:
    with pytest.raises(InvalidTokenError) as caught:
        jws.parse(_UNVERIFIED + "=")
    assert (repr(caught.value), caught.value.__cause__) == ("InvalidTokenError('base64_not_canonical')", None)
    refusal = NoGrant("a text for the caller")
    assert (str(refusal), repr(refusal)) == ("no_grant", "NoGrant('no_grant')")
    assert str(StateUnavailable(hint="a text for the operator")) == "state_unavailable"


def test_a_key_that_cannot_be_read_is_not_quoted(tmp_path: Path) -> None:
    file = ProviderKeyFile(tmp_path / "provider-keys.json")
    file.put("openai", _PROVIDER_KEY)
    with pytest.raises(Unavailable) as caught:
        file.get("openai", "another")
    assert KEY not in repr(caught.value) + repr(file)
