"""Lambda's runtime on this machine: its loop is AWS's own, awslambdaric; the Runtime API that it asks is here."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).resolve().parents[2] / ".venv-lambda" / "bin" / "python"
_MODULES = Path(__file__).parent / "on_lambda"
ANSWER_SECONDS = 30.0

Event = Mapping[str, Any]


class FunctionFailedError(Exception):
    """A function did not start, or raised."""


class _Api(BaseHTTPRequestHandler):
    """The four routes of the Runtime API, version 2018-06-01. A request for the next event waits until there is one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Hand out the next event."""
        self.server.asked.set()
        event = self.server.events.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 10_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:edge:1",
        }
        self._answer(200, json.dumps(event).encode(), headers)

    def do_POST(self) -> None:
        """Take an answer, or an error."""
        said = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = self.path.rpartition("/")[2]
        self._answer(202, b'{"status": "OK"}', {})
        self.server.answers.put((kind, said))

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.asked = threading.Event()
        super().__init__(("127.0.0.1", 0), _Api)

    def handle_error(self, *_arguments: object) -> None:
        """Pass over a function that was ended while it waited."""


class Function:
    """A function's process. seconds: what the last event took, from its being handed out to its answer."""

    def __init__(self, server: _Server, process: subprocess.Popen[bytes]) -> None:
        self._server, self._process = server, process
        self.seconds = 0.0

    def invoke(self, event: Event) -> Any:  # noqa: ANN401  what the function answers
        """Return the answer to an event; raises FunctionFailedError."""
        started = time.perf_counter()
        self._server.events.put(event)
        try:
            kind, said = self._server.answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise FunctionFailedError("no answer") from None
        self.seconds = time.perf_counter() - started
        if kind != "response":
            raise FunctionFailedError(str(said))
        return said

    def wait(self) -> None:
        """Wait until it has started and asked for an event; raises FunctionFailedError."""
        if not self._server.asked.wait(ANSWER_SECONDS):
            raise FunctionFailedError("it has not started")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it meanwhile, as Lambda does between two events."""
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def cpu(self) -> float:
        """Return the CPU seconds that the process has taken, all of its threads."""
        threads = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9

    def resident(self) -> int:
        """Return the bytes of memory that the process holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


@contextlib.contextmanager
def share_of_a_core(share: float) -> Iterator[Path | None]:
    """Make a control group with a share of a core, in turns of 20 ms as Lambda gives it; None if this machine allows none."""
    group = Path("/sys/fs/cgroup/cpu/keybroker-bench")
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("20000")
        (group / "cpu.cfs_quota_us").write_text(str(int(20_000 * share)))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.01)
        group.rmdir()


@contextlib.contextmanager
def function(handler: str, task: Path, environment: Mapping[str, str], group: Path | None = None) -> Iterator[Function]:
    """Start a function as Lambda does, and end it. handler: `module.name`, in the task's folder or in on_lambda/.

    group: a control group, whose share of a core it gets.
    """
    server = _Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    joins = f"echo $$ > {group}/cgroup.procs; " if group else ""
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{joins}exec {PYTHON} -m awslambdaric {handler}"],
        cwd=task,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(_MODULES),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "edge",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "LAMBDA_TASK_ROOT": str(task),
            **environment,
        },
    )
    try:
        yield Function(server, process)
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
