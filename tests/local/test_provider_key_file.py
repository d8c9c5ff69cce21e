"""Provider keys in a file."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.errors import Refusal, StateUnavailable, Unavailable
from chalicelib.providers.keys import ProviderKey
from local import secret_file
from local.provider_key_file import ProviderKeyFile

Log = pytest.LogCaptureFixture


def _openai_key(version: str = "v1", value: str = "sk-made-up") -> ProviderKey:
    return ProviderKey(version, "https://api.openai.com", "authorization", "Bearer ", value)


_OPENAI = _openai_key()
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
    ProviderKeyFile(path).put("openai", _OPENAI)
    ProviderKeyFile(path).put("anthropic", _ANTHROPIC)
    keys = ProviderKeyFile(path)
    assert (keys.get("openai", "v1"), keys.get("anthropic", "v2")) == (_OPENAI, _ANTHROPIC)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_value_that_starts_like_its_prefix_is_kept(path: Path) -> None:
    odd = ProviderKey("v1", "https://api.example.com", "authorization", "Bearer ", "Bearer Bearer x")
    ProviderKeyFile(path).put("odd", odd)
    assert ProviderKeyFile(path).get("odd", "v1") == odd


@pytest.mark.parametrize("version", ["v2", "", "V1"])
def test_another_version_than_the_one_in_force_is_refused(path: Path, version: str) -> None:
    ProviderKeyFile(path).put("openai", _OPENAI)
    assert _reason(path, version=version) == "provider_key_version"


def test_a_key_without_a_version_is_never_used(path: Path) -> None:
    ProviderKeyFile(path).put("openai", ProviderKey("", "https://api.openai.com", "authorization", "", "x"))
    assert _reason(path, version="") == "provider_key_version"


def test_a_new_version_is_read_at_once(path: Path) -> None:
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    assert keys.get("openai", "v1") == _OPENAI
    rotated = ProviderKey("v2", "https://api.openai.com", "authorization", "Bearer ", "sk-rotated")
    ProviderKeyFile(path).put("openai", rotated)
    assert keys.get("openai", "v2") == rotated


def test_a_version_that_was_read_needs_no_file_any_more(path: Path) -> None:
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    keys.get("openai", "v1")
    path.unlink()
    assert keys.get("openai", "v1") == _OPENAI
    with pytest.raises(Unavailable, match="secret_file_unreadable"):
        keys.get("openai", "v2")


def test_a_missing_file_is_unavailable_until_it_is_there(path: Path) -> None:
    keys = ProviderKeyFile(path)
    with pytest.raises(Unavailable, match="secret_file_unreadable"):
        keys.get("openai", "v1")
    keys.put("openai", _OPENAI)
    assert keys.get("openai", "v1") == _OPENAI


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    ProviderKeyFile(path).put("openai", _OPENAI)
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
        json.dumps({"openai": {"v1": {"origin": "https://x", "header": "authorization", "prefix": ""}}}),
        "[" * 100_000,
    ],
    ids=range(11),
)
def test_a_file_that_does_not_hold_the_key_whole_is_refused_without_quoting_it(path: Path, text: str) -> None:
    secret_file.write(path, text)
    with pytest.raises(Unavailable, match="provider_key_missing") as caught:
        ProviderKeyFile(path).get("openai", "v1")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", ["origin", "header", "prefix", "value"])
@pytest.mark.parametrize("value", [None, 7, ["x"]])
def test_a_member_that_is_no_text_is_refused(path: Path, field: str, value: object) -> None:
    ProviderKeyFile(path).put("openai", _OPENAI)
    stored = json.loads(secret_file.read(path))
    stored["openai"]["v1"][field] = value
    secret_file.write(path, json.dumps(stored))
    assert _reason(path) == "provider_key_missing"


def test_a_new_version_leaves_the_one_in_force_readable_and_every_other_key(path: Path) -> None:
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    keys.put("anthropic", _ANTHROPIC)
    keys.put("openai", _openai_key(version="v3", value="sk-third"))
    fresh = ProviderKeyFile(path)
    assert [fresh.get("openai", one).value for one in ("v1", "v3")] == ["sk-made-up", "sk-third"]
    assert fresh.get("anthropic", "v2") == _ANTHROPIC


def test_only_the_versions_that_are_named_are_kept(path: Path) -> None:
    keys = ProviderKeyFile(path)
    for version in ("v1", "v2"):
        keys.put("openai", _openai_key(version=version))
    keys.put("elsewhere", _ANTHROPIC)
    assert keys.keep_only("openai", "v2")
    assert not keys.keep_only("never", "v1")
    assert {name: list(one) for name, one in json.loads(secret_file.read(path)).items()} == {
        "openai": ["v2"],
        "elsewhere": ["v2"],
    }
    assert _reason(path) == "provider_key_version"
    assert ProviderKeyFile(path).get("openai", "v2").value == "sk-made-up"


def test_the_only_version_is_never_deleted(path: Path) -> None:
    """Where the version to be kept is not there, nothing is deleted."""
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    assert not keys.keep_only("openai", "v0")
    assert ProviderKeyFile(path).get("openai", "v1") == _OPENAI


def test_a_superseded_value_is_deleted(path: Path) -> None:
    """What a version supersedes is deleted once it is in force; what was stored later, or is another key's, stays."""
    keys = ProviderKeyFile(path)
    for version in ("v1", "v2", "v3"):
        keys.put("openai", _openai_key(version, f"sk-{version}"))
    keys.put("elsewhere", _ANTHROPIC)
    with keys.superseding("openai", "v2"):
        assert "sk-v1" in path.read_text()
    assert {name: list(one) for name, one in json.loads(path.read_text()).items()} == {
        "openai": ["v2", "v3"],
        "elsewhere": ["v2"],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_deleted_for_what_is_not_in_force(path: Path) -> None:
    """A version that could not be put in force supersedes nothing."""
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    keys.put("openai", _openai_key("v2", "sk-second"))
    with pytest.raises(Unavailable, match="state_unavailable"), keys.superseding("openai", "v2"):
        raise StateUnavailable
    assert keys.get("openai", "v1") == _OPENAI


def test_the_last_of_two_is_whole(path: Path) -> None:
    """A version that a later one has superseded is refused before it comes into force."""
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    keys.put("openai", _openai_key("v2", "sk-second"))
    with keys.superseding("openai", "v2"):
        pass
    with pytest.raises(Refusal, match="key_changed"), keys.superseding("openai", "v1"):
        pytest.fail("it must not come into force")


def test_a_disk_that_is_full_takes_nothing_back(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log) -> None:
    """Where the old value cannot be deleted, the new one is in force all the same, and the log says so without a value."""
    keys = ProviderKeyFile(path)
    keys.put("openai", _OPENAI)
    keys.put("openai", _openai_key("v2", "sk-second"))
    with keys.superseding("openai", "v2"):
        monkeypatch.setattr(secret_file, "write", _full)
    assert "provider_keys_unwritable" in caplog.text
    assert "sk-" not in caplog.text
    assert ProviderKeyFile(path).get("openai", "v2").value == "sk-second"


def _full(_path: Path, _text: str) -> None:
    raise OSError(28, "No space left on device")


def test_keys_that_are_set_at_once_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ProviderKeyFile(path).put(f"key-{n}", _openai_key(value=f"sk-{n}")), range(40)))
    keys = ProviderKeyFile(path)
    assert [keys.get(f"key-{n}", "v1").value for n in range(40)] == [f"sk-{n}" for n in range(40)]


@pytest.mark.parametrize("text", ["no JSON " + "sk-made-up", "[]", '{"openai": 7}'])
def test_a_file_that_is_no_use_is_not_written_over(path: Path, text: str) -> None:
    secret_file.write(path, text)
    with pytest.raises(Unavailable, match="provider_keys_unwritable") as caught:
        ProviderKeyFile(path).put("openai", _OPENAI)
    assert caught.value.__cause__ is None
    assert caught.value.hint == f"{path}: it holds no keys as they are written: restore a backup"
    assert path.read_text() == text
