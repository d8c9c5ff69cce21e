"""What the pages know of the administration: its answers, and the last good one of each with its time if there is no new one."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

from keybroker import aws
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import NO_IDENTITY, REFUSED, REMOTE, CommandError, from_error
from keybroker.errors import KeybrokerError

_KEPT: Final = 200
"""Answers that are kept."""
_AT_ONCE: Final = 6
ITEMS: Final = ("items", "next")
"""What a page of a list has."""
READ_SECONDS: Final = 6.0
"""For what is only shown: a person waits for it, and has to see soon that there is no answer."""
DENIED_SECONDS: Final = 60.0
"""For which a button is off after a refusal: what a person may do changes."""
_ASKS_A_PROVIDER: Final = "rotate"
"""Its dry run takes as long as the provider does."""
_ENDED: Final = ("signature is not valid", "security token included in the request")
"""How the administration, and API Gateway before it, says that credentials are not, or no longer, good."""
_OF_CREDENTIALS: Final = ("signature", "security token", "access key")
"""What is in a refusal for which the credentials are to blame."""


Wanted = tuple[str, Mapping[str, object]] | tuple[str, Mapping[str, object], Sequence[str]]
"""A path, its query, and the members that are read, as in `Api.get`."""


@dataclass(frozen=True, slots=True)
class Known:
    """An answer. problem: why there is no new one; then `data` is the last good one, of `at`, or None."""

    data: Any
    at: float
    """Epoch seconds."""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not answered or done. lines: for people."""

    lines: tuple[str, ...]
    is_denied: bool = False
    """The caller may not do it."""
    needs_credentials: bool = False
    """The caller's AWS credentials have ended, or there are none."""
    is_unseen: bool = False
    """The administration itself says that there is no such thing; API Gateway, or a proxy, says it in other words."""


RUBBISH: Final = Problem(
    ("the administration's answer is not one of Keybroker's", "see what answers there, a proxy say")
)
"""Of an answer that is JSON, and nothing that a page can read."""


class Api:
    """The administration's API for many threads."""

    def __init__(self, client: AdminClient, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds that only go on."""
        self.client = replace(client, timeout=READ_SECONDS)
        """Reads."""
        self._changing = client
        self._clock = clock
        self._denied: dict[str, float] = {}
        """When each was refused, by what the button does."""
        self._good: OrderedDict[str, Known] = OrderedDict()

    @property
    def denied(self) -> frozenset[str]:
        """What was not allowed when it was tried a moment ago, by what the button does."""
        now = self._clock()
        return frozenset(name for name, at in list(self._denied.items()) if now - at < DENIED_SECONDS)

    def get(self, path: str, query: Mapping[str, object] | None = None, members: Sequence[str] = ITEMS) -> Known:
        """Return what is answered, or the last good answer with the problem.

        members: what the page reads of the answer; one without them is a problem, and never kept.
        """
        name = f"{path}?{sorted((query or {}).items())}"
        try:
            good = Known(_with(members, self.client.get(path, query)), time.time())
        except (CommandError, KeybrokerError) as fault:
            last = self._good.get(name, Known(None, 0))
            return Known(last.data, last.at, problem(fault))
        self._good[name] = good
        self._good.move_to_end(name)
        while len(self._good) > _KEPT:
            self._good.popitem(last=False)
        return good

    def get_all(self, *wanted: Wanted) -> list[Known]:
        """Return several answers, asked for at once: one round of requests for a page. wanted: as for `get`."""
        answers: list[Future[Known]] = [Future() for _ in wanted]
        left: queue.SimpleQueue[tuple[Future[Known], Wanted]] = queue.SimpleQueue()
        for pair in zip(answers, wanted, strict=True):
            left.put(pair)
        # Daemons: the console ends at once, whoever does not answer.
        for _ in answers[:_AT_ONCE]:
            threading.Thread(target=self._get_each, args=(left,), daemon=True).start()
        return [one.result() for one in answers]

    def _get_each(self, left: queue.SimpleQueue[tuple[Future[Known], Wanted]]) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                answer, wanted = left.get_nowait()
                try:
                    answer.set_result(self.get(*wanted))
                except Exception as fault:  # noqa: BLE001  raised again where the answers are waited for
                    answer.set_exception(fault)

    def act(
        self,
        name: str,
        route: tuple[str, str],
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Any, Problem | None]:
        """Make a change, or its dry run; return what is answered, or the problem.

        name: of the button, for `denied`. route: method and path. query: with `dry_run` for one.
        """
        only_asks = (query or {}).get("dry_run") and name != _ASKS_A_PROVIDER
        client = self.client if only_asks else self._changing
        try:
            answer = _with((), client.call(*route, query, body, headers).body)
        except (CommandError, KeybrokerError) as fault:
            found = problem(fault)
            if found.is_denied:
                self._denied[name] = self._clock()
            return None, found
        self._denied.pop(name, None)
        return answer, None


def problem(fault: CommandError | KeybrokerError) -> Problem:
    """Return what is shown of a failure; credentials that are no use are looked for anew at the next request."""
    error = fault if isinstance(fault, CommandError) else from_error(fault)
    lines = tuple(str(line) for line in error.lines)
    is_denied = error.code == REFUSED and any("aws sts get-caller-identity" in line for line in lines)
    expired = is_denied and any(words in lines[0] for words in _ENDED)
    if error.code == NO_IDENTITY or (is_denied and any(word in lines[0] for word in _OF_CREDENTIALS)):
        aws.forget()  # not at every refusal: a profile may ask for a second factor each time
    unseen = error.refusal == "not_found"
    return Problem(lines, is_denied and not expired, error.code == NO_IDENTITY or expired, unseen)


def whole(members: Sequence[str], answer: Any, fault: Problem | None) -> tuple[Any, Problem | None]:  # noqa: ANN401  any JSON
    """Return what `act` returned, but a problem if the answer has not all that is read of it."""
    is_whole = answer is None or all(name in answer for name in members)
    return (answer, fault) if is_whole else (None, RUBBISH)


def _with(members: Sequence[str], answer: Any) -> Any:  # noqa: ANN401  any JSON
    """Return an answer that is an object with these members, `items` a list; raises CommandError for any other."""
    is_whole = isinstance(answer, dict) and all(name in answer for name in members)
    if is_whole and isinstance(answer.get("items", []), list):
        return answer
    raise CommandError(REMOTE, *RUBBISH.lines)
