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


def test_json_keeps_other_members() -> None:
    """Every other member of a JSON file is kept."""
    made = json.loads(tool_config.merge_json('{"model": "x", "env": {"B": "2", "A": "0"}}', MINE, "f"))
    assert made == {"model": "x", "env": {"B": "2", "A": "1"}, "apiKeyHelper": "keybroker token"}
    assert json.loads(tool_config.merge_json("", MINE, "f")) == MINE


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "nul"])
def test_malformed_json_is_refused(text: str) -> None:
    """A file that is not a JSON object is left alone and named."""
    assert failure(text, "json").lines[0].startswith("settings.json: not ")


def test_toml_keeps_the_existing_text() -> None:
    """TOML is added to, and the existing text stays unchanged."""
    text = 'model = "gpt-5" # mine\n\n[tui]\ntheme = "dark"\n'
    made = tool_config.merge_toml(text, TOP, TABLES, "f")
    assert text.rstrip() in made
    assert tomllib.loads(made) == {**tomllib.loads(text), **tomllib.loads(f"{TOP}\n{TABLES}")}


def test_nothing_is_added_twice() -> None:
    """What is already there is not added again."""
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
def test_other_values_are_not_replaced(text: str, member: str) -> None:
    """A file that sets the same names to something else is left alone, and the name is reported."""
    assert f"config.toml: {member} is already set" in failure(text).lines[0]


def test_malformed_toml_is_refused() -> None:
    """A file that is not TOML is left alone and named."""
    assert failure("= 1").lines[0].startswith("config.toml: not TOML")


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    """A file is replaced whole, keeps its mode, and stays behind its symbolic link."""
    real, link = tmp_path / "dotfiles", tmp_path / "home" / "config"
    real.write_text("old")
    real.chmod(0o600)
    link.parent.mkdir()
    link.symlink_to(real)
    tool_config.write(link, "new")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "new", 0o600)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "dotfiles"}


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    """A missing folder is created."""
    tool_config.write(tmp_path / "a" / "b", "text")
    assert tool_config.read(tmp_path / "a" / "b") == "text"
    assert tool_config.read(tmp_path / "none") == ""


def test_an_unwritable_file_is_an_error(tmp_path: Path) -> None:
    """A file that cannot be read or written is an error."""
    (tmp_path / "file").write_text("")
    for act in (lambda path: tool_config.write(path, ""), tool_config.read):
        with pytest.raises(CommandError, match=r"cannot be (written|read)") as caught:
            act(tmp_path / "file" / "below")
        assert caught.value.code == LOCAL
