"""`make demo`: the main scenario on this machine, with real HTTP and OpenAI's own SDK; each step checks its result.

Exit codes: 0 every step passed, 1 a step failed (stderr says which, and why), 130 interrupted, 143 terminated. The
servers are always stopped and their state is always deleted.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keybroker.cli.command_error import CommandError
from local.demo import server, signals
from local.demo.check import CheckFailedError
from local.demo.console import Console, OutputClosedError
from local.demo.server import DemoServer
from local.demo.state import DemoState

Step = Callable[[DemoState], str]
_MARGIN = 20
"""Seconds that the demo may take: it does not start so close to midnight UTC, when the daily quotas reset."""


def main(serve: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code.

    serve: for tests: a command to start in place of this project's `serve`, with the same output as its `--json`.
    """
    signals.raise_on_signals()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file, which no test replaces
    try:
        return _run(serve, Console(sys.stdout, os.environ))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except OutputClosedError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        signals.stop_repeating()


def _run(serve: Sequence[str] | None, console: Console) -> int:
    began, current = time.perf_counter(), "start-up"
    _isolate()
    try:
        with tempfile.TemporaryDirectory(prefix="keybroker-demo-") as name:
            directory = Path(name)
            _introduce(console)
            arguments = serve or server.command(directory)
            with server.start(arguments, directory, _import_slow_modules) as running:
                os.environ.update(running.admin)
                _show_addresses(console, running, began)
                state, steps = DemoState(running, console), _steps()
                for number, (title, step) in enumerate(steps, start=1):
                    current = f"step {number} ({title})"
                    console.title(f"{number}  {title}")
                    started = time.perf_counter()
                    console.passed(step(state), time.perf_counter() - started)
    except OutputClosedError:
        raise
    except Exception as error:  # noqa: BLE001  the message names the step, whatever went wrong
        signals.raise_hidden()
        print(f"error: {current} failed: {_reason(error)}", file=sys.stderr)
        return 1
    took = time.perf_counter() - began
    console.finished(f"All {len(steps)} steps passed ({took:.1f} s). Everything is stopped and deleted.")
    console.paragraph("`make dev` keeps them running; docs/concepts.md explains what you saw.")
    return 0


def _steps() -> list[tuple[str, Step]]:
    from local.demo import federation, job, security  # noqa: PLC0415  they import the SDK, see _import_slow_modules

    return [
        ("A CI job gets its identity token", job.get_identity_token),
        ("It exchanges it for a token of the broker", job.exchange),
        ("It streams a completion through the edge", job.stream),
        ("The provider saw the real key; the job never did", job.compare_keys),
        ("The same identity token again", job.replay),
        ("The quota", job.use_up_quota),
        ("Revocation: the very next call is refused", security.revoke),
        ("Restoring: old tokens stay dead", security.restore),
        ("The audit trail", security.read_audit),
        ("No provider's key on the machine, and the same call", federation.federate),
    ]


def _import_slow_modules() -> None:
    """Import the SDK, and what signs for AWS, while the servers start: they take as long."""
    for name in ("openai", "botocore.session", "botocore.auth"):
        importlib.import_module(name)


def _introduce(console: Console) -> None:
    console.title("Keybroker: a CI job calls OpenAI's API and never holds the key")
    console.paragraph(
        "Everything runs on this machine. Keys and identities are made up; the HTTP,"
        " the signatures and the SDK are real."
    )
    wait = _wait_for_midnight(time.time())
    if wait:
        console.paragraph(f"It is nearly midnight UTC, when daily quotas reset: waiting {wait:.0f} s.")
        time.sleep(wait)


def _wait_for_midnight(now: float) -> float:
    """Return the seconds to wait so that the demo does not run into the next day (UTC): usually 0."""
    left = 86400 - now % 86400
    return left if left < _MARGIN else 0.0


def _show_addresses(console: Console, running: DemoServer, began: float) -> None:
    console.fields(
        {
            "broker": running.broker,
            "edge": running.edge,
            "provider": f"{running.provider} (plays OpenAI)",
            "issuer": f"{running.issuer} (plays GitHub)",
        }
    )
    console.passed("all servers answer", time.perf_counter() - began)


def _isolate() -> None:
    """Remove this machine's own settings, which the SDK and the signer would read."""
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AWS_"))]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, CommandError):
        return "; ".join(error.lines)
    return str(error) if isinstance(error, CheckFailedError) else f"{type(error).__name__}: {error}"
