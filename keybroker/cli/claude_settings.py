"""What Claude Code's settings do to the variables that `exec` gives it: a helper's key beside ours, values that win over ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from keybroker.json_object import read_json_object

TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105  a variable's name
"""The variable beside which Claude Code sends no helper's key."""
_READ = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", TOKEN)
_MANAGED = ("/etc/claude-code", "/Library/Application Support/ClaudeCode")
_LIMIT = 1024 * 1024


def has_key_helper(environ: Mapping[str, str], folder: Path) -> bool:
    """Return whether an `apiKeyHelper` is set for a Claude Code with this environment that runs in this folder."""
    return any(read_json_object(text).get("apiKeyHelper") for text in map(_text, _files(environ, folder)))


def winning(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yield `FILE sets NAME` for what has another value there than here, since the settings' value is the one used."""
    for path in dict.fromkeys(_files(environ, folder)):
        variables = read_json_object(_text(path)).get("env")
        if isinstance(variables, dict):
            differs = (
                name for name in _READ if name in environ and variables.get(name, environ[name]) != environ[name]
            )
            yield from (f"{path} sets {name}" for name in differs)


def _files(environ: Mapping[str, str], folder: Path) -> Iterator[Path]:
    own = environ.get("CLAUDE_CONFIG_DIR") or Path(environ.get("HOME") or environ.get("USERPROFILE") or "/", ".claude")
    yield Path(own, "settings.json")
    for above in (folder, *folder.parents):
        yield above / ".claude" / "settings.json"
        yield above / ".claude" / "settings.local.json"
    yield from (Path(one, "managed-settings.json") for one in _MANAGED)


def _text(path: Path) -> bytes:
    """Return a file's content, b"" if it is not there, is not a file, or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_LIMIT)
    except OSError:
        return b""
