"""Provider keys in a file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from chalicelib.errors import Unavailable
from chalicelib.providers import ProviderKey
from local import secret_file
from local.provider_key_file import ProviderKeyFile

_OPENAI = ProviderKey("v1", "https://api.openai.com", "authorization", "Bearer ", "sk-made-up")
_ANTHROPIC = ProviderKey("v2", "https://api.anthropic.com", "x-api-key", "", "sk-ant-made-up")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys of this test are."""
    return tmp_path / "provider-keys.json"


def _reason(path: Path, name: str = "openai", version: str = "v1") -> str:
    with pytest.raises(Unavailable) as caught:
        ProviderKeyFile(path).get(name, version)
    return caught.value.reason


def test_keys_written_are_read_whole_with_origin_and_header(path: Path) -> None:
    ProviderKeyFile(path).write({"openai": _OPENAI, "anthropic": _ANTHROPIC})
    keys = ProviderKeyFile(path)
    assert (keys.get("openai", "v1"), keys.get("anthropic", "v2")) == (_OPENAI, _ANTHROPIC)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_value_that_starts_like_its_prefix_is_kept(path: Path) -> None:
    odd = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "Bearer Bearer x")
    ProviderKeyFile(path).write({"odd": odd})
    assert ProviderKeyFile(path).get("odd", "v1") == odd


@pytest.mark.parametrize("version", ["v2", "", "V1"])
def test_another_version_than_the_one_in_force_is_refused(path: Path, version: str) -> None:
    ProviderKeyFile(path).write({"openai": _OPENAI})
    assert _reason(path, version=version) == "provider_key_version"


def test_a_key_without_a_version_is_never_used(path: Path) -> None:
    ProviderKeyFile(path).write({"openai": ProviderKey("", "https://api.openai.com", "authorization", "", "x")})
    assert _reason(path, version="") == "provider_key_version"


def test_a_new_version_is_read_at_once(path: Path) -> None:
    keys = ProviderKeyFile(path)
    keys.write({"openai": _OPENAI})
    assert keys.get("openai", "v1") == _OPENAI
    rotated = ProviderKey("v2", "https://api.openai.com", "authorization", "Bearer ", "sk-rotated")
    ProviderKeyFile(path).write({"openai": rotated})
    assert keys.get("openai", "v2") == rotated


def test_a_version_that_was_read_needs_no_file_any_more(path: Path) -> None:
    keys = ProviderKeyFile(path)
    keys.write({"openai": _OPENAI})
    keys.get("openai", "v1")
    path.unlink()
    assert keys.get("openai", "v1") == _OPENAI
    with pytest.raises(Unavailable, match="secret_file_unreadable"):
        keys.get("openai", "v2")


def test_a_missing_file_is_unavailable_until_it_is_there(path: Path) -> None:
    keys = ProviderKeyFile(path)
    with pytest.raises(Unavailable, match="secret_file_unreadable"):
        keys.get("openai", "v1")
    keys.write({"openai": _OPENAI})
    assert keys.get("openai", "v1") == _OPENAI


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    ProviderKeyFile(path).write({"openai": _OPENAI})
    path.chmod(0o640)
    assert _reason(path) == "secret_file_open_to_others"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "[[]]",
        "7",
        "{}",
        json.dumps({"openai": "sk-made-up"}),
        json.dumps({"openai": ["v1"]}),
        json.dumps({"openai": None}),
        json.dumps({"openai": {"version": "v1", "origin": "https://x", "header": "authorization", "prefix": ""}}),
        "[" * 100_000,
    ],
    ids=range(11),
)
def test_a_file_that_does_not_hold_the_key_whole_is_refused_without_quoting_it(path: Path, text: str) -> None:
    secret_file.write(path, text)
    with pytest.raises(Unavailable, match="provider_key_missing") as caught:
        ProviderKeyFile(path).get("openai", "v1")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", ["version", "origin", "header", "prefix", "value"])
@pytest.mark.parametrize("value", [None, 7, ["x"]])
def test_a_member_that_is_no_text_is_refused(path: Path, field: str, value: object) -> None:
    ProviderKeyFile(path).write({"openai": _OPENAI})
    stored = json.loads(secret_file.read(path))
    stored["openai"][field] = value
    secret_file.write(path, json.dumps(stored))
    assert _reason(path, version=str(value) if field == "version" else "v1") == "provider_key_missing"
