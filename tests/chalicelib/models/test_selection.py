"""What models a call runs: by vectors, and beside parsers that read as leniently as anyone's might.

Each entry of `vectors/models.json` is a call under a grant that limits models, and has either `models`, all that are
found and allowed, or `reason`. What it leaves out is a plain chat completion at OpenAI:
provider, scope, query, headers    the call; `headers` are names
types, encodings                   the values of Content-Type and Content-Encoding
body or hex; fill, times, end      the body as text or bytes; `fill` is repeated behind it, `end` follows
encoded, truncated                 the body as the edge is shown it, if it is no good
allowed                            the grant's `models`
"""

from __future__ import annotations

import asyncio
import base64
import email.parser
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import urllib3
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.models import selection as model_selection
from chalicelib.models.body import CallBody
from chalicelib.models.endpoints import endpoints
from chalicelib.patterns import model_matches
from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS
from tests.forge import vectors
from tests.refused import refused

VECTORS = vectors("models.json")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "grants.md").read_text()
ALLOWED = ("gpt-5-mini", "text-embedding-3-*")
CHAT, TRANSCRIPTIONS = "POST:/v1/chat/completions", "POST:/v1/audio/transcriptions"
STATUSES = {
    "body_no_json": (400, "invalid_request"),
    "body_no_form": (400, "invalid_request"),
    "body_twice": (400, "invalid_request"),
    "model_missing": (400, "invalid_request"),
    "model_no_text": (400, "invalid_request"),
    "model_unclear": (400, "invalid_request"),
    "model_elsewhere": (403, "insufficient_scope"),
    "model_endpoint_closed": (403, "insufficient_scope"),
    "models_unknown": (403, "insufficient_scope"),
    "model_not_allowed": (403, "model_not_allowed"),
    "body_too_many": (413, "invalid_request"),
    "body_cut": (413, "invalid_request"),
    "body_media_type": (415, "invalid_request"),
    "body_encoded": (415, "invalid_request"),
    "body_not_shown": (503, "temporarily_unavailable"),
}


def shown(content: bytes, *types: str, **more: Any) -> CallBody:  # noqa: ANN401  CallBody's fields
    return CallBody(base64.b64encode(content).decode(), truncated=False, content_types=types, **more)


def body_of(entry: Mapping[str, Any]) -> CallBody:
    content = bytes.fromhex(entry["hex"]) if "hex" in entry else entry.get("body", "").encode()
    content += entry.get("fill", "").encode() * entry.get("times", 0) + entry.get("end", "").encode()
    encoded = base64.b64encode(content).decode() if {"hex", "body"} & entry.keys() else entry.get("encoded")
    return CallBody(
        encoded=encoded,
        truncated=entry.get("truncated", False),
        content_types=tuple(entry.get("types", ["application/json"])),
        content_encodings=tuple(entry.get("encodings", ())),
        header_names=tuple(entry.get("headers", ())),
    )


def admitted(provider: str, scope: str, query: str, body: CallBody, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models of a call that a grant allows; raises Refusal."""
    found = model_selection.models(provider, scope, query, body)
    model_selection.check(found, allowed)
    return found


@pytest.mark.parametrize("entry", VECTORS, ids=lambda entry: entry["name"])
def test_model_vectors(entry: Mapping[str, Any]) -> None:
    """Each vector has its models, or its refusal."""

    def attempt() -> tuple[str, ...]:
        scope, query = entry.get("scope", CHAT), entry.get("query", "")
        allowed = tuple(entry.get("allowed", ALLOWED))
        return admitted(entry.get("provider", "openai"), scope, query, body_of(entry), allowed)

    if "models" in entry:
        assert list(attempt()) == entry["models"]
        return
    refusal = refused(attempt)
    assert refusal.reason == entry["reason"]
    assert (refusal.status, refusal.error) == STATUSES[refusal.reason]
    assert refusal.description.isascii()
    assert refusal.description.isprintable()
    assert len(refusal.description) <= 400


def test_every_refusal_has_a_vector() -> None:
    """Every refusal of the room has a vector."""
    assert {entry["reason"] for entry in VECTORS if "reason" in entry} == STATUSES.keys()


def test_refused_model_is_named() -> None:
    """A refused model is named, and nothing of the grant is."""
    body = shown(b'{"model": "gpt-5"}', "application/json")
    text = refused(lambda: admitted("openai", CHAT, "", body, ALLOWED)).description
    assert text == "the grant does not allow the model 'gpt-5'"


def test_refused_member_is_named() -> None:
    """A refused member is named, without its value."""
    body = shown(b'{"model": "gpt-5-mini", "previous_response_id": "resp_1"}', "application/json")
    text = refused(lambda: admitted("openai", "POST:/v1/responses", "", body, ALLOWED)).description
    assert "`previous_response_id`" in text
    assert "resp_1" not in text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_endpoints_are_in_provider_form(provider: str) -> None:
    """Every endpoint is in its provider's form, and not closed."""
    for endpoint in endpoints(provider):
        path = endpoint.scope.partition(":")[2].replace("{model}", "gpt-5-mini")
        assert paths.to_provider_form(path, PROVIDERS[provider].paths) == path
        assert not paths.is_closed(PROVIDERS[provider], path)


def test_providers_without_models() -> None:
    """A grant that limits models opens nothing of a key whose provider has no models."""
    assert {name for name in PROVIDERS if not endpoints(name)} == {"generic", "github", "github-app", "stripe"}


# docs/grants.md


def rows(heading: str) -> list[list[str]]:
    """The cells of the page's table under this heading."""
    lines = PAGE.partition(heading + "\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_documented_refusals() -> None:
    """docs/grants.md lists the refusals of the room."""
    told = {reason.strip("`"): int(status) for _, status, reason in rows("| What | Answer | In the log |")}
    assert told == {reason: status for reason, (status, _) in STATUSES.items()}


def test_documented_members() -> None:
    """The members that docs/grants.md calls stored, or about models, are refused."""
    stored, speaking = (
        set(re.findall("`([^`]+)`", PAGE.partition(start)[2].partition(";\n")[0].replace("\n", " ")))
        for start in ("- what is stored at the provider:", "- members, fields, query parameters and headers")
    )
    assert len(stored) >= 10
    for name in (stored | speaking) - {"item_reference"}:
        body = shown(json.dumps({"model": "gpt-5-mini", name: {}}).encode(), "application/json")
        if name != "model":
            attempt = partial(admitted, "openai", "POST:/v1/responses", "", body, ALLOWED)
            assert refused(attempt).reason == "model_elsewhere", name


# what the edge is shown


def shown_by_cloudfront(**body: object) -> CallBody:
    headers = {"Content-Type": "application/json", "X-Twice": "a"}
    grouped = {name.lower(): [{"key": name, "value": value}] for name, value in headers.items()}
    request: dict[str, Any] = {"headers": grouped}
    if body:
        request["body"] = {"action": "read-only", "encoding": "base64", "data": "e30=", "inputTruncated": False, **body}
    return CallBody.from_request(request)


def test_body_from_cloudfronts_event() -> None:
    """A body is read from CloudFront's event."""
    found = shown_by_cloudfront(data="e30=")
    assert found == CallBody("e30=", False, ("application/json",), (), ("content-type", "x-twice"))  # noqa: FBT003  as it is declared
    assert found.content() == b"{}"


@pytest.mark.parametrize("truncated", [True, None, 0, "false"])
def test_truncated_body(truncated: object) -> None:
    """A body that CloudFront truncated is a 413."""
    refusal = refused(shown_by_cloudfront(inputTruncated=truncated).content)
    assert (refusal.reason, refusal.status) == ("body_cut", 413)
    assert "1 MiB" in refusal.description


@pytest.mark.parametrize("body", [{}, {"encoding": "text"}, {"data": None}, {"data": "e30"}, {"data": "e3 0="}])
def test_body_not_shown(body: dict[str, object]) -> None:
    """A body that was not shown, or is malformed, is a 503."""
    refusal = refused(shown_by_cloudfront(**body).content)
    assert (refusal.reason, refusal.status) == ("body_not_shown", 503)


def test_body_is_not_printed() -> None:
    """A body does not appear in a repr."""
    body = shown(b"what is said to a model", "text/plain")
    assert repr(body) == "CallBody(about 24 bytes, truncated=False, content_types=('text/plain',))"
    assert str(body.encoded) not in f"{body} {[body]}"


# forms as clients write them


def urllib3_form() -> tuple[bytes, str]:
    file = ("ä b.mp3", b"\x00\r\n", "audio/mpeg")
    return urllib3.encode_multipart_formdata({"model": "whisper-1", "file": file, "prompt": "model"})


def aiohttp_form() -> tuple[bytes, str]:
    form = aiohttp.FormData()
    form.add_field("file", b"\x00\r\n", filename="ä.mp3", content_type="audio/mpeg")
    form.add_field("model", "whisper-1")
    writer = form()
    return asyncio.run(writer.as_bytes()), writer.headers["content-type"]


def curl_form() -> tuple[bytes, str]:
    """As curl and browsers write it: a boundary that begins with dashes."""
    mark = "------------------------d74496d66958873e"
    parts = ('name="model"\r\n\r\nwhisper-1', 'name="file"; filename="ä.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n\0')
    text = "".join(f"--{mark}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + f"--{mark}--\r\n"
    return text.encode(), f"multipart/form-data; boundary={mark}"


@pytest.mark.parametrize("form", [urllib3_form, aiohttp_form, curl_form])
def test_forms_of_real_clients(form: Callable[[], tuple[bytes, str]]) -> None:
    """The forms of real clients are read."""
    content, media_type = form()
    assert admitted("openai", TRANSCRIPTIONS, "", shown(content, media_type), ("whisper-1",)) == ("whisper-1",)


# Any parser reads the same


def read_as(content: bytes, pick: int) -> object:
    """The `model` for a parser that takes the first or the last of several, in any case and any encoding of Unicode."""

    def hook(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {name.casefold(): value for name, value in (pairs if pick else pairs[::-1])}

    found = json.loads(content, object_pairs_hook=hook)
    return found["model"]


def is_allowed(model: object) -> bool:
    return isinstance(model, str) and any(model_matches(pattern, model) for pattern in ALLOWED)


def outcome(scope: str, body: CallBody) -> tuple[str, ...] | str:
    """The models, or the reason of the refusal; any other exception is a fault."""
    try:
        return admitted("openai", scope, "", body, ALLOWED)
    except Refusal as refusal:
        return refusal.reason


def check_json(content: bytes) -> bool:
    found = outcome(CHAT, shown(content, "application/json"))
    if isinstance(found, str):
        assert found in STATUSES
        return False
    assert found[0] == read_as(content, 0) == read_as(content, 1)
    assert is_allowed(found[0])
    return True


MEMBERS = st.sampled_from(
    [
        '"model"',
        '"mod\\u0065l"',
        '"Model"',
        '"models"',
        '"messages"',
        '"tools"',
        '"type"',
        '"input"',
        '"metadata"',
        '"a"',
    ]
)


def written(pairs: list[tuple[str, str]]) -> str:
    """An object of these members, however often each."""
    return f"{{{','.join(f'{name}:{value}' for name, value in pairs)}}}"


TEXTS = [
    '"gpt-5-mini"',
    '"gpt-5"',
    '"text-embedding-3-x"',
    '""',
    "null",
    "true",
    "false",
    "1",
    "1e9",
    "NaN",
    '"\\ud800"',
]
VALUES = st.recursive(
    st.sampled_from(TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]"),
        st.lists(st.tuples(MEMBERS, inner), max_size=3).map(written),
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.tuples(MEMBERS, VALUES), max_size=4).map(written)


@given(st.binary(max_size=200))
@example(b'{"model": false}')
@example(b'\xef\xbb\xbf{"model": "gpt-5-mini"}')
@example('{"model": "gpt-5-mini"}'.encode("utf-16"))
def test_any_bytes_as_json(content: bytes) -> None:
    """Any bytes are read as JSON or refused; nothing else is raised."""
    check_json(content)


@given(OBJECTS, st.sampled_from(["", " ", "\ufeff", "//"]), st.sampled_from(["", "\n", "{}", "\0"]))
@example('{"model":"gpt-5-mini","mod\\u0065l":"gpt-5"}', "", "")
@example('{"model":"gpt-5-mini","metadata":{"model":"gpt-5"}}', "", "\n")
@example('{"model":false}', "", "")
def test_json_has_one_model_for_every_parser(text: str, before: str, behind: str) -> None:
    """JSON that is admitted has one model, for every parser."""
    check_json((before + text + behind).encode())


def test_search_finds_admitted_json() -> None:
    """The search above reaches JSON that is admitted."""
    assert check_json(b'{"model":"gpt-5-mini","metadata":{"model":"gpt-5"}}\n')


def lenient_fields(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What parsers that look the other way make of a form with the boundary `b`."""
    for piece in re.split(rb"(?:^|\r?\n)--b(?:--)?[ \t]*(?:\r?\n|$)", content):
        head, _, value = re.sub(rb"\r\n", b"\n", piece).partition(b"\n\n")
        for name in re.findall(rb"\bname\*?=(?:utf-8'')?\"?([^\";\r\n]*)", head, re.IGNORECASE):
            yield name.decode("latin-1"), value
    whole = b'Content-Type: multipart/form-data; boundary="b"\r\n\r\n' + content
    for part in email.parser.BytesParser().parsebytes(whole).walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and not part.is_multipart():
            payload = part.get_payload(decode=True)
            yield name, payload if isinstance(payload, bytes) else b""


PIECES = st.sampled_from(
    [
        b"--b",
        b"--b--",
        b"--",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b'Content-Disposition: form-data; name="model"\r\n\r\ngpt-5-mini',
        b'Content-Disposition: form-data; name="model"\r\n\r\ngpt-5',
        b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
        b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-5\r\n',
        b'\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n',
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Type: multipart/mixed; boundary=c\r\n",
        b'; name="model"',
        b"x",
    ]
)
WELL_FORMED = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-5-mini',
    b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n',
)


def check_form(content: bytes) -> bool:
    found = outcome(TRANSCRIPTIONS, shown(content, "multipart/form-data; boundary=b"))
    if isinstance(found, str):
        assert found in STATUSES
        return False
    read = {value.strip().decode("latin-1") for name, value in lenient_fields(content) if name.lower() == "model"}
    assert read == set(found)
    assert all(is_allowed(model) for model in read)
    return True


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_as_a_form(content: bytes) -> None:
    """Any bytes are read as a form or refused; nothing else is raised."""
    check_form(content)


@given(st.lists(PIECES, max_size=3).map(b"".join), st.integers(0, 200), st.integers(0, 3))
def test_form_has_one_model_for_every_parser(insert: bytes, at: int, cut: int) -> None:
    """A form that is admitted has one model, for every parser."""
    whole = b"".join(WELL_FORMED)
    check_form(whole[:at] + insert + whole[at + cut :])


def test_search_finds_admitted_forms() -> None:
    """The search above reaches forms that are admitted."""
    assert check_form(b"".join(WELL_FORMED))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"model": "gpt-5-mini", **{f"a{number}": 0 for number in range(2_001)}}),
        json.dumps({"model": "gpt-5-mini", "a": [{f"a{number}": 0} for number in range(2_001)]}),
    ],
)
def test_too_many_names(body: str) -> None:
    """A body with more different names of members than are looked at is refused."""
    shown = CallBody(base64.b64encode(body.encode()).decode(), truncated=False, content_types=("application/json",))
    assert refused(lambda: admitted("openai", CHAT, "", shown, ALLOWED)).reason == "body_too_many"


@pytest.mark.parametrize(("parts", "reason"), [(200, "model_missing"), (201, "body_too_many")])
def test_too_many_parts(parts: int, reason: str) -> None:
    """A form with more parts than PARTS is refused before they are read."""
    part = '--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n'
    form = (part * parts + "--b--").encode()
    shown = CallBody(
        base64.b64encode(form).decode(), truncated=False, content_types=("multipart/form-data; boundary=b",)
    )
    assert refused(lambda: admitted("openai", TRANSCRIPTIONS, "", shown, ALLOWED)).reason == reason
