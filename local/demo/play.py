"""`make demo`: the whole story on this machine, with real HTTP and OpenAI's own SDK, each step checking its facts.

Exit codes: 0 the story holds, 1 a step failed (stderr says which, and why), 130 interrupted. Whatever happens, the
servers are stopped and their state is thrown away.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local.demo import interruption
from local.demo import server as demo_stage
from local.demo.check import StepFailed
from local.demo.console import Narrator, Unheard
from local.demo.server import Stage
from local.demo.state import Scene

Step = Callable[[Scene], str]
_MARGIN = 20
"""Seconds that the story may take: it does not start so shortly before a day's quotas open again."""


def main(serve: Sequence[str] | None = None) -> int:
    """Play the story and return the exit code.

    serve: a command to start instead of this project's `serve`, keeping the promise of its `--json`; with it, one can
    see that the demo notices servers that do not do what it tells of.
    """
    interruption.raise_on_signals()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file, which no test replaces
    try:
        return _play(serve, Narrator(sys.stdout, os.environ))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Unheard:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        interruption.cleaning_up()


def _play(serve: Sequence[str] | None, narrator: Narrator) -> int:
    began, at = time.perf_counter(), "the start"
    _shield()
    try:
        with tempfile.TemporaryDirectory(prefix="keybroker-demo-") as name:
            directory = Path(name)
            _greet(narrator)
            arguments = serve or demo_stage.command(directory)
            with demo_stage.serving(arguments, directory, lambda: importlib.import_module("openai")) as stage:
                _introduce(narrator, stage, began)
                scene, steps = Scene(stage, narrator), _steps()
                for number, (title, step) in enumerate(steps, start=1):
                    at = f"step {number} ({title})"
                    narrator.title(f"{number}  {title}")
                    started = time.perf_counter()
                    narrator.done(step(scene), time.perf_counter() - started)
    except Unheard:
        raise
    except Exception as fault:  # noqa: BLE001  whatever went wrong, the person is told in which step
        why = str(fault) if isinstance(fault, StepFailed) else f"{type(fault).__name__}: {fault}"
        print(f"error: {at} failed: {why}", file=sys.stderr)
        return 1
    took = time.perf_counter() - began
    narrator.end(f"All {len(steps)} steps hold ({took:.1f} s). Everything is stopped and thrown away.")
    narrator.say("make dev leaves it running; docs/concepts.md explains what you saw.")
    return 0


def _steps() -> list[tuple[str, Step]]:
    from local.demo import job, security  # noqa: PLC0415  they import the SDK, which takes as long as the servers

    return [
        ("A CI job gets its identity token", job.identify),
        ("It exchanges it for a token of the broker", job.exchange),
        ("It streams a completion through the edge", job.stream),
        ("The provider saw the real key; the job never did", job.compare),
        ("The same identity token again", job.replay),
        ("The quota", job.use_up),
        ("Revocation: the very next call is refused", security.revoke),
        ("Restoring: old tokens stay dead", security.restore),
        ("The audit trail", security.read_trail),
    ]


def _greet(narrator: Narrator) -> None:
    narrator.title("Keybroker: a CI job calls OpenAI's API and never holds the key")
    narrator.say(
        "Everything runs on this machine. Keys and identities are made up; the HTTP,"
        " the signatures and the SDK are real."
    )
    wait = _until_the_story_fits(time.time())
    if wait:
        narrator.say(f"It is nearly midnight UTC, when daily quotas open again: waiting {wait:.0f} s.")
        time.sleep(wait)


def _until_the_story_fits(now: float) -> float:
    """Return the seconds to wait, so that the story does not run into the next day: mostly none."""
    left = 86400 - now % 86400
    return left if left < _MARGIN else 0.0


def _introduce(narrator: Narrator, stage: Stage, began: float) -> None:
    narrator.facts(
        {
            "broker": stage.broker,
            "edge": stage.edge,
            "provider": f"{stage.provider} (plays OpenAI)",
            "issuer": f"{stage.issuer} (plays GitHub)",
        }
    )
    narrator.done("everything answers", time.perf_counter() - began)


def _shield() -> None:
    """Let no setting of this machine's owner change the story: it is told of an SDK with two settings only."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
