"""The types of the policy file, and the JSON Schema that is made of them: the two say the same about a file's shape."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no type information
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.issuers.presets import PRESETS
from chalicelib.policy import compile as policy
from chalicelib.policy import schema as policy_file
from chalicelib.policy.faults import InvalidPolicyError
from chalicelib.policy.yaml_nodes import plain
from chalicelib.policy.yaml_parser import parse_yaml
from chalicelib.providers.presets import PROVIDERS
from chalicelib.tokens.jwk import ALGORITHMS
from tests.policy_vectors import INVALID, VALID

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = policy.json_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)
SAYS = {None: "cannot read it", True: "accepts it", False: "refuses it"}


def accepts(text: str) -> bool | None:
    """Say whether the schema accepts a file, as an editor reads it; None if that is no YAML of ours."""
    try:
        document = parse_yaml(text, "k.yaml")
    except InvalidPolicyError:
        return None
    # Repeated keys and merges are marked by editors themselves.
    return not document.faults and bool(CHECK.is_valid(plain(document.root)))


def test_published_schema() -> None:
    """The published schema is the generated one."""
    published = (ROOT / "docs" / "policy.schema.json").read_text()
    assert json.loads(published) == SCHEMA, "run `make schema`"
    assert published == json.dumps(SCHEMA, indent=2) + "\n", "run `make schema`"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", VALID)
def test_the_schema_accepts_every_valid_file(name: str) -> None:
    """The schema accepts every valid file."""
    faults = [f"{one.json_path}: {one.message}" for one in CHECK.iter_errors(plain(parse_yaml(VALID[name], "k").root))]
    assert faults == []


@pytest.mark.parametrize("name", INVALID)
def test_schema_on_invalid_files(name: str) -> None:
    """The schema refuses an invalid file if its shape is wrong, as the file's last line states."""
    assert SAYS[accepts(INVALID[name])] == re.findall(r"^#schema (.*)$", INVALID[name], re.MULTILINE)[0]


def test_what_the_schema_misses() -> None:
    """The schema misses only what no schema could see."""
    missed = {name for name, text in INVALID.items() if accepts(text)}
    assert missed == {"issuer-forms", "same-claim-twice"}  # forms of presets' URLs, and one name in two spellings


def test_names_in_the_schema() -> None:
    """The schema lists this installation's providers, presets and algorithms."""
    types = SCHEMA["$defs"]
    issuer = types["IssuerEntry"]["properties"]
    assert types["KeyEntry"]["properties"]["provider"]["enum"] == list(PROVIDERS)
    assert issuer["preset"]["enum"] == list(PRESETS)
    assert issuer["algorithms"]["items"]["enum"] == sorted(ALGORITHMS)


def test_descriptions_in_the_schema() -> None:
    """Every type has a description and takes no unknown field."""
    for name, kind in SCHEMA["$defs"].items():
        assert kind["description"], name
        assert kind["additionalProperties"] is False, name


def test_no_nulls_and_no_empty_lists() -> None:
    """Nothing may be null, and no list may be empty or have a value twice."""

    def walk(one: Any) -> None:  # noqa: ANN401  JSON
        if isinstance(one, dict):
            assert one.get("type") != "null"
            if one.get("type") == "array":
                assert one["minItems"] == 1
                assert one["uniqueItems"] is True
            for inner in one.values():
                walk(inner)
        elif isinstance(one, list):
            for inner in one:
                walk(inner)

    walk(SCHEMA)


def test_patterns_in_javascript() -> None:
    """Every pattern of the schema means the same in JavaScript, where editors run it."""
    patterns = re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(SCHEMA))
    assert len(patterns) > 5
    for one in patterns:
        text = json.loads(f'"{one}"')
        assert text.startswith("^")
        assert not re.search(r"\(\?P|\\[AZzhH]|\(\?[a-zA-Z]|\\u", text)


_PLACES = ["keys", "issuers", "grants", "openai", "provider", "github", "preset", "audience", "app", "key", "to"]
_PLACES += ["issuer", "claims", "aws", "via", "scope", "quota", "tokens", "calls", "ttl", "models", "total", "url"]
_LEAVES = [
    "openai",
    "github",
    "github-actions",
    "keybroker",
    "1/hour",
    "15m",
    "GET:/v1",
    "arn:aws:iam::123456789012:role/a",
]
_LEAVES += ["https://a.example", "web-identity", "", "x", "*"]


@given(st.data())
def test_what_parses_the_schema_accepts(data: st.DataObject) -> None:
    """Change one place of a good file at random: whatever still parses, editors must not mark."""
    file = json.loads(json.dumps(plain(parse_yaml(VALID["design"], "k").root)))
    at = file
    for _ in range(data.draw(st.integers(0, 4))):
        inner = [one for one in at.values() if isinstance(one, dict)]
        at = data.draw(st.sampled_from(inner)) if inner else at
    leaf = st.sampled_from(_LEAVES) | st.booleans() | st.integers(-5, 5) | st.none()
    value = data.draw(leaf | st.lists(leaf, max_size=2) | st.dictionaries(st.sampled_from(_PLACES), leaf, max_size=2))
    at[data.draw(st.sampled_from([*at, *_PLACES]))] = value
    try:
        policy.parse(json.dumps(file))
    except InvalidPolicyError:
        return
    assert CHECK.is_valid(file)


@pytest.mark.parametrize(
    ("duration", "spelled"), [(60, "1m"), (300, "5m"), (3600, "1h"), (604_800, "7d"), (90, "90s"), (86_400, "1d")]
)
def test_spelled_durations(duration: int, spelled: str) -> None:
    """A duration is written in the largest unit that divides it."""
    assert policy_file.spelled(duration) == spelled
    assert policy_file.seconds(spelled) == duration


def test_the_schema_s_process_ends_well() -> None:
    """A process that prints the schema ends with 0: without the workaround, three in four crashed at their end."""
    program = "from chalicelib.policy import compile; compile.json_schema()"
    codes = [
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode for _ in range(5)
    ]
    assert codes == [0] * 5


@pytest.mark.parametrize(
    "network", ["198.51.100.0/24", "198.51.100.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:DB8::/32", "::/0", "::1/128"]
)
def test_networks(network: str) -> None:
    """A network has no host bits and is written canonically."""
    assert policy_file.network_fault(network) is None


@pytest.mark.parametrize(
    "network",
    [
        "198.51.100.1/24",
        "198.51.100.7",
        "::ffff:198.51.100.0/120",
        "::ffff:0:0/96",
        "fe80::%1/64",
        "2001:0db8::/32",
        "",
        "x",
        "198.51.100.0/24\n",
        "198.51.100.0/33",
        "10/8",
        "198.51.100.0/0.0.0.255",
        "\uff11.0.0.0/8",
    ],
)
def test_malformed_networks(network: str) -> None:
    """Anything else is a fault."""
    assert policy_file.network_fault(network) is not None
