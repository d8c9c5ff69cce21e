from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.errors import InternalFault, Refusal, StateUnavailable, Unavailable
from chalicelib.exchange.errors import Replayed
from chalicelib.http.messages import refused
from chalicelib.tokens.errors import CLAIM_REASONS, KEY_REASONS, PROOF_REASONS, REASONS
from local.errors import KmsUnavailable, StateFileReplaced
from tests.error_table import DOC, TEXTS, doors, edge_texts, refusals, written

ROOT = Path(__file__).resolve().parent.parent.parent
EVERY = refusals()


def test_the_log_says_by_which_word_aws_refused_us() -> None:
    """`Unavailable` puts AWS's code beside who was refused."""
    refusal = StateUnavailable(aws_code="AccessDeniedException").with_context(about={"key": "openai"})
    assert refusal.log_fields() == {"key": "openai", "cause": "AccessDeniedException"}
    assert StateUnavailable(hint="the disk is full").log_fields() == {}


def test_context_makes_a_new_refusal() -> None:
    """`with_context` changes nothing on the refusal that it is called on, and keeps all else that it says."""
    first = Replayed(headers={"a": "1"})
    second = first.with_context(about={"grant": "app"})
    assert (type(second), second.args, second.reason, second.status) == (Replayed, ("replayed",), "replayed", 400)
    assert (second.headers, second.about) == ({"a": "1"}, {"grant": "app"})
    assert (first.headers, first.about) == ({"a": "1"}, {})


@pytest.mark.parametrize("kind", [one for one in EVERY if issubclass(one, Unavailable)], ids=lambda kind: kind.__name__)
def test_only_what_time_mends_is_to_be_tried_again(kind: type[Unavailable]) -> None:
    """A 503 has a Retry-After and says "try again" if, and only if, trying again can help."""
    answer = refused(kind(), "public", "request-1")
    text = str(answer.body["error_description"])
    assert ("retry-after" in answer.headers) is kind.retryable
    assert (answer.headers.get("x-should-retry") == "false") is not kind.retryable
    assert kind.retryable or "; try again" not in text


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_nothing_at_the_start_is_mended_by_time(kind: type[Refusal]) -> None:
    """What keeps one machine from starting has to be mended by its operator; a file can be put back, and KMS answer again."""
    if kind.__module__ == "local.errors":
        assert kind.retryable is (kind in {StateFileReplaced, KmsUnavailable})


def test_context_can_say_more_to_the_caller() -> None:
    """A description given later replaces the class's text."""
    assert StateUnavailable().with_context(description="send it again").description == "send it again"


def test_a_fault_says_its_type_only() -> None:
    """The text of a fault reaches neither the log nor the caller."""
    refusal = InternalFault(ValueError("sk-secret"))
    assert (refusal.reason, refusal.args) == ("fault_ValueError", ("fault_ValueError",))
    assert "sk-secret" not in refusal.description


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_a_refusal_is_complete(kind: type[Refusal]) -> None:
    """Each refusal has reasons, code, statuses and a docstring of its own."""
    assert kind.reasons
    assert re.fullmatch("[a-z_]+", kind.error)
    assert all(400 <= status < 600 for status in kind.statuses)
    assert kind.__doc__ != Refusal.__doc__
    assert "__doc__" in vars(kind)


def test_a_reason_has_one_code_and_status_at_a_door() -> None:
    """Two refusals that share a reason at one door answer alike."""
    for one, other in itertools.combinations(EVERY, 2):
        if set(one.reasons) & set(other.reasons) and set(doors(one)) & set(doors(other)):
            assert (one.error, one.statuses) == (other.error, other.statuses), (one, other)


def test_every_refusal_is_in_the_table() -> None:
    """docs/errors.md, and what the command line says, are as `make errors` writes them; the page names each refusal's reasons."""
    text = DOC.read_text(encoding="utf-8")
    assert text == written(text)
    assert json.loads(TEXTS.read_text(encoding="utf-8")) == edge_texts()
    assert {reason for kind in EVERY for reason in kind.reasons if f"`{reason}`" not in text} == set()


RAISED = ("InvalidTokenError", "RefusedClaimError")


def token_reasons(names: tuple[str, ...] = RAISED) -> Iterator[str]:
    """Yield the reasons that the source raises either error with, `<…>` for what is put in."""
    files = [path for room in ("chalicelib", "local") for path in (ROOT / room).rglob("*.py")]
    for node in itertools.chain.from_iterable(ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for file in files):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.JoinedStr):
                    yield re.sub(r"\{.*?\}", "<claim>", ast.unparse(part)[2:-1])
                elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value[0] != "_":
                    yield part.value


def test_a_token_s_reasons_are_listed() -> None:
    """Whatever InvalidTokenError is raised with is one of the listed reasons."""
    found = set(token_reasons())
    assert found <= {*REASONS, *KEY_REASONS}
    assert len(found) > 40


def test_a_reason_is_of_one_side() -> None:
    """A reason is either told to the caller of an exchange, who has proved who it is, or is not, and never both."""
    told, untold = (set(token_reasons((name,))) for name in reversed(RAISED))
    assert told == set(CLAIM_REASONS)
    assert untold & told == {"<claim>_malformed"}, "of our own tokens (tokens/issued.py)"
    assert untold <= {*PROOF_REASONS, *KEY_REASONS, "<claim>_malformed", "ep_malformed", "total_malformed"}
    assert not set(PROOF_REASONS) & set(CLAIM_REASONS)
