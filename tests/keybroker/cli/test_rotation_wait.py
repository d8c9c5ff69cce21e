"""What `keybroker keys rotate` sends until the new key is in force, over a server that answers as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from keybroker.cli import rotation_wait
from keybroker.cli.admin_client import AdminClient
from keybroker.cli.command_error import REFUSED, REMOTE, CommandError
from keybroker.cli.rotation_wait import PAUSES, Rotating
from tests.keybroker.cli.canned_server import CannedServer, serving
from tests.keybroker.cli.keybroker_command import administrator
from tests.keybroker.cli.rotation_answers import answer, item, listed, rotation, state
from tests.running import Running

BUSY = answer(409, {"title": "rotation_busy", "detail": "try later"})
IN_FORCE = answer(200, state("v2", rotation("overlap")))
FAILED = answer(200, state("v1", rotation("creating", "status_500")))


@dataclass
class Stage:
    """A rotation over a server that answers as it is told."""

    server: CannedServer
    pauses: list[float] = field(default_factory=list)

    def wait(self, *turns: list[bytes], before: dict[str, object] | None = None, **body: object) -> dict[str, object]:
        """Wait for it, with these answers."""
        self.server.turns = list(turns)
        return Rotating(AdminClient(self.server.url), before or item("v1"), body, self.pauses.append).wait()

    @property
    def methods(self) -> str:
        """What was asked."""
        return " ".join(one.partition(b" ")[0].decode() for one in self.server.seen)


@pytest.fixture
def stage(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in administrator(running).items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        yield Stage(server)


def test_it_is_sent_until_the_new_key_is_in_force(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that fails is asked again, after longer and longer pauses, and what fails is said once."""
    under_way = listed(item("v1", rotation("creating", "status_500")))
    found = stage.wait(FAILED, under_way, FAILED, under_way, IN_FORCE)
    assert (found["version"], stage.pauses) == ("v2", [1, 2])
    assert capsys.readouterr().err == "the provider failed or was not reached (status_500); trying again\n"


def test_each_new_problem_is_said(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A problem that changes is said again."""
    under_way = listed(item("v1", rotation("creating", "status_500")))
    refused = answer(200, state("v1", rotation("creating", "probe_status_401")))
    stage.wait(FAILED, under_way, refused, under_way, IN_FORCE)
    assert [line.rpartition("(")[2] for line in capsys.readouterr().err.splitlines()] == [
        "status_500); trying again",
        "probe_status_401); trying again",
    ]


def test_a_lost_answer_begins_no_second_rotation(stage: Stage) -> None:
    """After an answer that was lost the key is looked at first: what is done already is not begun again."""
    found = stage.wait([], listed(item("v2")), leaked=True)
    assert (found["version"], found["rotation"]) == ("v2", None)
    assert stage.methods == "POST GET"


def test_a_lost_request_is_sent_again(stage: Stage) -> None:
    """If the request never arrived, it is sent again."""
    assert stage.wait([], listed(item("v1")), IN_FORCE)["version"] == "v2"
    assert stage.methods == "POST GET POST"


def test_the_end_of_one_under_way_is_an_end(stage: Stage) -> None:
    """To go on with an overlap ends once it is over, and begins no other."""
    before = item("v2", rotation("overlap"))
    assert stage.wait([], listed(item("v2")), before=before)["rotation"] is None


def test_after_a_leak_the_end_of_one_under_way_is_not_enough(stage: Stage) -> None:
    """After a leak in an overlap both keys go: the end of the one under way is half of it."""
    before, done = item("v2", rotation("overlap")), answer(200, state("v3", None))
    assert stage.wait([], listed(item("v2")), done, before=before, leaked=True)["version"] == "v3"


def test_somebody_else_at_work_is_waited_for(stage: Stage) -> None:
    """An attempt that is under way, or was cut off, is waited for longer than it keeps others out."""
    assert stage.wait(BUSY, listed(item("v1", rotation("creating"))), IN_FORCE)["version"] == "v2"
    assert sum(PAUSES) > 90


@pytest.mark.parametrize("problem", ["status_401", "status_403", "status_404", "status_400", "too_many"])
def test_what_lasts_ends_it(stage: Stage, problem: str) -> None:
    """What only a person can put right is reported at once, with how to go on."""
    with pytest.raises(CommandError) as caught:
        stage.wait(answer(200, state("v1", rotation("creating", problem))))
    first, hint = caught.value.lines
    assert (caught.value.code, stage.pauses) == (REMOTE, [])
    assert first.startswith("openai: it is not replaced: ")
    assert hint == "nothing is lost: keybroker keys rotate openai goes on where it stopped, --abort ends it"


def test_it_gives_up(stage: Stage) -> None:
    """After some minutes it gives up, and says that what is in force works."""
    late = answer(200, state("v2", rotation("overlap", "status_503", leaked=True)))
    looks = listed(item("v2", rotation("overlap", "status_503", leaked=True)))
    with pytest.raises(CommandError, match="the new key is in force, and the key before is not deleted") as caught:
        stage.wait(late, *[looks, late] * len(PAUSES), leaked=True)
    assert caught.value.lines[-1] == "nothing is lost: keybroker keys rotate openai --leaked goes on where it stopped"
    assert stage.pauses == list(PAUSES)


def test_nothing_is_claimed_that_is_not_known(stage: Stage) -> None:
    """If no answer came, it is not said that nothing was replaced; after a leak there is another way."""
    with pytest.raises(CommandError, match="openai: how far it came is not known: ") as caught:
        stage.wait(*[[]] * (len(PAUSES) + 1), leaked=True)
    assert caught.value.lines[-1].endswith("set a value that you make: keybroker keys set openai --leaked")


def test_a_refusal_is_not_repeated(stage: Stage) -> None:
    """An administrator who may not rotate is told so, and nothing is sent again."""
    with pytest.raises(CommandError, match="Forbidden") as caught:
        stage.wait(answer(403, {"message": "Forbidden"}))
    assert (caught.value.code, stage.methods) == (REFUSED, "POST")


def test_a_value_in_the_names_place(stage: Stage) -> None:
    """A name that the policy does not have is not quoted: it may be the value."""
    stage.server.turns = [listed(item("v1"))]
    with pytest.raises(CommandError) as caught:
        rotation_wait.find(AdminClient(stage.server.url), "sk-made-up-0123456789abcdef")
    assert caught.value.lines[0] == "not_found: the policy names no such key"
    assert "sk-made-up" not in " ".join(caught.value.lines)
