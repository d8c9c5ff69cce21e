"""Has the broker go on with a rotation until its new key is in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keybroker.cli import output, rotation_problem
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import QUOTA, REFUSED, REMOTE, CommandError

PAUSES: Final = (1, 2, 4, 8, 15, *[30] * 8)
"""Seconds from one try to the next; together longer than an attempt that was cut off keeps others out (90 s)."""
OVERLAP: Final = "overlap"
_MEMBERS = ("name", "version", "rotates", "before", "management", "rotation")


@dataclass(frozen=True)
class Rotating:
    """A key that is being replaced. before: as `GET /admin/keys` had it before anything was sent."""

    client: AdminClient
    before: Mapping[str, Any]
    body: Mapping[str, Any]
    pause: Callable[[float], None] = time.sleep

    def send(self) -> dict[str, Any]:
        """Have the broker do one step; return what it answers. Raises CommandError."""
        path = f"/admin/keys/{segment(self.before['name'])}/rotation"
        answer: dict[str, Any] = self.client.call("POST", path, {}, self.body).body
        return answer

    def once(self) -> dict[str, Any]:
        """Send it once; return the answer if the new key is in force or the rotation is over. Raises CommandError."""
        answer = self.send()
        if problem := _problem(answer):
            raise self._given_up(self._words(problem), answer)
        return answer

    def wait(self) -> dict[str, Any]:
        """Send it until the new key is in force or the rotation is over; return that answer. Raises CommandError.

        A problem is shown once. One that lasts until a person changes something ends it at once.
        """
        told = ""
        for tries, seconds in enumerate((*PAUSES, None)):
            answer, problem = dict[str, Any](), ""
            try:
                # SECURITY: by now it may be over, and to send it again would begin another one
                # (test_a_lost_answer_begins_no_second_rotation).
                answer = (self._over() if tries else None) or self.send()
            except CommandError as error:
                if not _passes(error):
                    raise
                text = error.lines[0]
            else:
                if not (problem := _problem(answer)):
                    return answer
                text = self._words(problem)
            if seconds is None or rotation_problem.lasting(problem):
                raise self._given_up(text, answer)
            if text != told:
                output.message(f"{text}; trying again")
            told = text
            self.pause(seconds)
        raise AssertionError("the last try ends it")

    def _words(self, problem: str) -> str:
        return rotation_problem.words(problem, self.before["name"], self.before["provider"])

    def _over(self) -> dict[str, Any] | None:
        """Return the key's state if what was asked for has been done meanwhile; None if it has not."""
        now, before = find(self.client, self.before["name"]), self.before
        if now["rotation"] is not None:
            return None
        went_on = before["rotation"] and before["rotation"]["step"] == OVERLAP
        hastened = self.body.get("leaked") and went_on and not before["rotation"]["leaked"]
        if now["version"] == before["version"] and (hastened or not went_on):
            return None
        return {name: now[name] for name in _MEMBERS}

    def _given_up(self, text: str, answer: Mapping[str, Any]) -> CommandError:
        name = self.before["name"]
        in_force = (answer.get("rotation") or {}).get("step") == OVERLAP
        what = "the new key is in force, and the key before is not deleted" if in_force else "it is not replaced"
        lines = [f"{name}: {what if answer else 'how far it came is not known'}: {text}"]
        again = " --leaked" if self.body.get("leaked") else ""
        abort = "" if in_force else ", --abort ends it"
        lines.append(f"nothing is lost: keybroker keys rotate {name}{again} goes on where it stopped{abort}")
        if again and not in_force:
            lines.append(f"if that takes too long, set a value that you make: keybroker keys set {name} --leaked")
        return CommandError(REMOTE, *lines)


def find(client: AdminClient, name: str) -> dict[str, Any]:
    """Return a key as `GET /admin/keys` has it; raises CommandError."""
    found: list[dict[str, Any]] = client.get("/admin/keys")["items"]
    for one in found:
        if one["name"] == name:
            if "rotates" not in one:
                raise CommandError(REMOTE, "this broker is older than rotation: set a value with keybroker keys set")
            return one
    # SECURITY: the name is not quoted: who mixes up name and value has typed the value (test_a_value_in_the_names_place).
    raise CommandError(REFUSED, "not_found: the policy names no such key", "keybroker keys list shows them")


def _problem(answer: Mapping[str, Any]) -> str:
    rotation = answer["rotation"]
    if rotation is None or (rotation["step"] == OVERLAP and not rotation["problem"]):
        return ""
    return str(rotation["problem"] or "unknown")


def _passes(error: CommandError) -> bool:
    """Whether it may be gone at the next try."""
    return error.refusal == "rotation_busy" or error.code in (REMOTE, QUOTA)
