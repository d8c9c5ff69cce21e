"""Claude Code, from npm: each step is a run of its own, `claude -p`, in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.sdks.python import agent
from tests.sdks.python.agent import Settings
from tests.sdks.python.steps import MODELS, run

HERE = Path(__file__).resolve().parent.parent / "agents" / "claude-code"
CLAUDE = next(HERE.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
"""The program for this machine, which a script of the package would only copy."""
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "NO_PROXY": "127.0.0.1"}
"""It asks nobody else, and reaches this machine directly: it takes HTTPS_PROXY for http, too."""


class ClaudeCode(RuntimeError):  # noqa: N818  what the page calls its errors
    """What its user sees at the end."""


def fixed(base_url: str, token: str) -> Settings:
    """Return what a token in a variable needs."""
    return Settings({"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_AUTH_TOKEN": token}, {})


def refreshed(base_url: str) -> Settings:
    """Return settings with an apiKeyHelper."""
    return Settings({}, {"settings.json": agent.filled(HERE / "settings.json", base_url)})


def bare() -> Settings:
    """Return nothing: `keybroker exec` has set it."""
    return Settings({}, {})


def plain(settings: Settings) -> str:
    """Return what it answers."""
    return str(_run(settings, "--output-format", "json")["result"])


def streamed(settings: Settings) -> Iterator[str]:
    """Yield the pieces of its answer."""
    yield from _run(settings, "--output-format", "stream-json", "--include-partial-messages", "--verbose")["pieces"]


def _run(settings: Settings, *how: str) -> Mapping[str, list[str] | str]:
    with tempfile.TemporaryDirectory(dir=os.environ["HOME"]) as folder:
        command = [str(CLAUDE), "-p", "hello", "--model", MODELS["anthropic"], *how]
        done = agent.run(command, settings, Path(folder), {"CLAUDE_CONFIG_DIR": folder, **QUIET})
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last: dict[str, str] = next((one for one in events if one.get("type") == "result"), {})
    if done.returncode or last.get("is_error") or not last:
        raise ClaudeCode(agent.distinct(f"{done.stderr}\n{last.get('result') or done.stdout}"))
    deltas = [one["event"].get("delta", {}) for one in events if one.get("type") == "stream_event"]
    return {"result": last["result"], "pieces": [one["text"] for one in deltas if one.get("type") == "text_delta"]}


if __name__ == "__main__":
    said = subprocess.run([CLAUDE, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    run(said.split()[0], {"fixed": fixed, "refreshed": refreshed, "bare": bare}, plain, streamed)
