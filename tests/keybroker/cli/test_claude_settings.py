"""Which of Claude Code's settings change what `exec` gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keybroker.cli.claude_settings import has_key_helper, winning

HELPER = {"apiKeyHelper": "keybroker token --key anthropic"}


def put(path: Path, what: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what))


@pytest.mark.parametrize(
    "file", ["home/.claude/settings.json", "work/.claude/settings.json", "work/a/b/.claude/settings.local.json"]
)
def test_a_helper_is_found(tmp_path: Path, file: str) -> None:
    """The person's settings, those of the folder and those above it are read."""
    environ, folder = {"HOME": str(tmp_path / "home")}, tmp_path / "work" / "a" / "b"
    assert not has_key_helper(environ, folder)
    put(tmp_path / file, HELPER)
    assert has_key_helper(environ, folder)


def test_another_place_for_the_settings(tmp_path: Path) -> None:
    """CLAUDE_CONFIG_DIR has the person's settings, if it is set."""
    put(tmp_path / "other" / "settings.json", HELPER)
    assert has_key_helper({"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "other")}, tmp_path)
    assert not has_key_helper({"HOME": str(tmp_path)}, tmp_path)


@pytest.mark.parametrize("what", [[], {}, {"apiKeyHelper": ""}, {"env": []}, {"env": {"A": "b"}}])
def test_settings_without_one(tmp_path: Path, what: object) -> None:
    """Other settings, or none that can be read, are no helper's."""
    put(tmp_path / ".claude" / "settings.json", what)
    environ = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    assert not has_key_helper(environ, tmp_path)
    assert list(winning(environ, tmp_path)) == []


def test_what_wins_is_named(tmp_path: Path) -> None:
    """A variable of the settings that has another value is named once, with its file and without the value."""
    file = tmp_path / ".claude" / "settings.json"
    put(file, {"env": {"ANTHROPIC_BASE_URL": "https://edge.example/anthropic", "ANTHROPIC_API_KEY": "same"}})
    environ = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_API_KEY": "same"}
    assert list(winning(environ, tmp_path)) == [f"{file} sets ANTHROPIC_BASE_URL"]
