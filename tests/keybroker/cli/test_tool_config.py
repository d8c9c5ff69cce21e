from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from keybroker.cli import tool_config
from keybroker.cli.command_error import LOCAL, CommandError

TOP = 'model_provider = "keybroker"'
TABLES = '[model_providers.keybroker]\nbase_url = "https://edge.example"\n'
MINE = {"apiKeyHelper": "keybroker token", "env": {"A": "1"}}


def failure(text: str, kind: str = "toml") -> CommandError:
    with pytest.raises(CommandError) as caught:
        toml(text) if kind == "toml" else tool_config.merge_json(text, MINE, "settings.json")
    assert caught.value.code == LOCAL
    return caught.value


def toml(text: str) -> str:
    return tool_config.merge_toml(text, TOP, TABLES, "config.toml")


def test_json_keeps_every_other_member() -> None:
    made = json.loads(tool_config.merge_json('{"model": "x", "env": {"B": "2", "A": "0"}}', MINE, "f"))
    assert made == {"model": "x", "env": {"B": "2", "A": "1"}, "apiKeyHelper": "keybroker token"}
    assert json.loads(tool_config.merge_json("", MINE, "f")) == MINE


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "nul"])
def test_what_is_no_json_object_is_left_alone_and_named(text: str) -> None:
    assert failure(text, "json").lines[0].startswith("settings.json: not ")


def test_toml_is_added_to_and_what_is_there_stays_as_it_stands() -> None:
    text = 'model = "gpt-5" # mine\n\n[tui]\ntheme = "dark"\n'
    made = tool_config.merge_toml(text, TOP, TABLES, "f")
    assert text.rstrip() in made
    assert tomllib.loads(made) == {**tomllib.loads(text), **tomllib.loads(f"{TOP}\n{TABLES}")}


def test_what_is_there_already_is_not_added_again() -> None:
    once = tool_config.merge_toml("", TOP, TABLES, "f")
    assert tool_config.merge_toml(once, TOP, TABLES, "f") == once
    half = tool_config.merge_toml(f"{TOP}\n", TOP, TABLES, "f")
    assert half.count("model_provider =") == 1


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ('model_provider = "other"\n', "model_provider"),
        ('[model_providers.keybroker]\nbase_url = "https://other.example"\n', "model_providers.keybroker"),
    ],
)
def test_what_says_something_else_is_left_alone_and_named(text: str, member: str) -> None:
    assert f"config.toml: {member} is already set" in failure(text).lines[0]


def test_what_is_no_toml_is_left_alone_and_named() -> None:
    assert failure("= 1").lines[0].startswith("config.toml: not TOML")


def test_a_file_is_replaced_whole_with_its_mode_and_behind_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles", tmp_path / "home" / "config"
    real.write_text("old")
    real.chmod(0o600)
    link.parent.mkdir()
    link.symlink_to(real)
    tool_config.write(link, "new")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "new", 0o600)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "dotfiles"}


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    tool_config.write(tmp_path / "a" / "b", "text")
    assert tool_config.read(tmp_path / "a" / "b") == "text"
    assert tool_config.read(tmp_path / "none") == ""


def test_where_nothing_can_be_written_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for act in (lambda path: tool_config.write(path, ""), tool_config.read):
        with pytest.raises(CommandError, match=r"cannot be (written|read)") as caught:
            act(tmp_path / "file" / "below")
        assert caught.value.code == LOCAL
