from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from chalicelib.edge.call import Admitted
from chalicelib.errors import Refusal
from chalicelib.providers.answer_usage import TokenUse
from chalicelib.providers.keys import ProviderKey
from local.metrics import measured as module
from local.metrics.exposition import Exposition
from local.metrics.measured import Measured
from local.metrics.names import MOST_NAMES
from local.metrics.shared import Shared

SECRET, SUB, JTI = "sk-canary-9a8b7c", "https://issuer.example|sub:canary-principal", "canary-jti"


@dataclass
class Answered:
    """An answer, as far as it is measured."""

    status: int = 200
    why: str = ""
    first_sent_at: float = 0.0
    size: int = 100


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(key: str = "openai") -> Admitted:
    value = ProviderKey("1", SECRET, "https://api.openai.com", "authorization", "Bearer ")
    return Admitted(value, SUB, "ci", JTI, path="/v1/canary-path", key_name=key, provider="openai")


def shown(directory: Path) -> dict[str, float]:
    """The page's samples, by name and labels."""
    lines = Exposition(directory).text().decode().splitlines()
    return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[:1] != "#")}


def test_a_call_is_counted_at_its_end(counted: Path) -> None:
    """Key, status class, both times, bytes and tokens of a call are there once it has ended."""
    clock = Clock()
    measured = Measured(Shared(counted, "worker-1"), clock)
    began = measured.begun()
    measured.admitted("1", admitted())
    measured.answered(admitted().key_name, TokenUse("gpt", 17, 22, 5))
    measured.answered(admitted().key_name, None)
    clock.now += 3.0
    measured.write()
    assert shown(counted)["http_server_active_requests"] == 1
    measured.ended("1", began, 65, Answered(first_sent_at=1000.2))
    measured.write()
    found = shown(counted)
    one = '{keybroker_key="openai"}'
    assert found['keybroker_calls_total{error_type="",keybroker_key="openai",keybroker_status_class="2xx"}'] == 1
    assert found[f"http_server_request_duration_seconds_sum{one}"] == 3.0
    assert found['http_server_request_duration_seconds_bucket{keybroker_key="openai",le="2.5"}'] == 0
    assert found['http_server_request_duration_seconds_bucket{keybroker_key="openai",le="5.0"}'] == 1
    assert found['keybroker_time_to_first_byte_seconds_bucket{keybroker_key="openai",le="0.25"}'] == 1
    assert found['keybroker_io_bytes_total{keybroker_key="openai",network_io_direction="receive"}'] == 65
    assert found['keybroker_io_bytes_total{keybroker_key="openai",network_io_direction="transmit"}'] == 100
    assert found[f"gen_ai_client_inference_usage_input_tokens_total{one}"] == 17
    assert found[f"gen_ai_client_inference_usage_output_tokens_total{one}"] == 22
    assert found[f"gen_ai_client_inference_usage_cache_read_input_tokens_total{one}"] == 5
    assert found[f"keybroker_answers_unknown_total{one}"] == 1
    assert found["http_server_active_requests"] == 0


@pytest.mark.parametrize(
    ("answer", "noted", "row"),
    [
        (Answered(403), "revoked_principal", 'error_type="revoked_principal",keybroker_key="openai",keybroker_status_class="4xx"'),
        (Answered(502, "origin"), "", 'error_type="origin",keybroker_key="",keybroker_status_class="5xx"'),
        (Answered(200, "cut"), "", 'error_type="cut",keybroker_key="",keybroker_status_class="2xx"'),
        (None, "", 'error_type="client_left",keybroker_key="",keybroker_status_class="none"'),
        (Answered(999), "", 'error_type="",keybroker_key="",keybroker_status_class="none"'),
    ],
)  # fmt: skip
def test_how_a_call_ended(counted: Path, answer: Answered | None, noted: str, row: str) -> None:
    """A refusal has its reason and, once that is verified, its key; what was cut or left has a word of its own."""
    measured = Measured(Shared(counted, "worker-1"))
    if noted:
        measured.refused("1", Refusal(reason=noted, status=403, about={"key": "openai", "principal": SUB}))
    measured.ended("1", measured.begun(), 0, answer)
    measured.write()
    assert shown(counted)[f"keybroker_calls_total{{{row}}}"] == 1


def test_labels_are_bounded(counted: Path) -> None:
    """10,000 keys, and names with line breaks or of any length, make a bounded number of series and break no line."""
    measured = Measured(Shared(counted, "worker-1"))
    ugly = ["a\nb", 'a"} 1\nforged_total 1', "\ud800", "é" * 5, "k" * 5000, "\\", ""]
    for number, key in enumerate([*ugly, *(f"key-{one}" for one in range(10_000))]):
        measured.refused(
            str(number), Refusal(reason="scope", status=403, about={"key": key, "principal": f"p{number}"})
        )
        measured.ended(str(number), measured.begun(), 0, Answered(403))
    measured.write()
    text = Exposition(counted).text().decode()
    keys = set(re.findall(r'^keybroker_calls_total\{.*keybroker_key="([^"]*)"', text, re.MULTILINE))
    assert len(keys) == MOST_NAMES + 1
    assert "other" in keys
    assert "forged" not in text
    assert all(re.fullmatch(r"#.*|[a-z_]+(\{.*\})? [0-9.e+-]+", line) for line in text.splitlines())
    assert sum(value for name, value in shown(counted).items() if name.startswith("keybroker_calls_total")) == 10_007


def test_decisions_of_calls_that_left_take_bounded_room(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread decides after its caller left is not kept for ever."""
    monkeypatch.setattr(module, "_MOST_NOTED", 10)
    measured = Measured(Shared(counted, "worker-1"))
    for number in range(100):
        measured.admitted(str(number), admitted())
    measured.ended("99", measured.begun(), 0, Answered())
    measured.ended("0", measured.begun(), 0, Answered())
    measured.write()
    calls = {name: value for name, value in shown(counted).items() if name.startswith("keybroker_calls_total")}
    assert sorted(calls.values()) == [1, 1]
    assert len(calls) == 2


def test_nothing_of_a_caller_is_in_the_numbers(counted: Path) -> None:
    """Neither key, principal, token id, path nor model is a label."""
    measured = Measured(Shared(counted, "worker-1"))
    measured.admitted("1", admitted())
    measured.answered(admitted().key_name, TokenUse("canary-model", 1, 1, 1))
    measured.ended("1", measured.begun(), 0, Answered())
    measured.write()
    files = b"".join(one.read_bytes() for one in counted.glob("*.db"))
    for page in (Exposition(counted).text(), files):
        assert b"canary" not in page
        assert SECRET.encode() not in page


def test_a_fault_in_the_numbers_fails_no_call(counted: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A call whose numbers cannot be taken or written ends as ever, and the log says what was wrong."""

    class Broken(Answered):
        size = property(lambda _self: 1 // 0)

        def __init__(self) -> None:
            self.status, self.why, self.first_sent_at = 200, "", 0.0

    measured = Measured(Shared(counted / "nowhere", "worker-1"))
    measured.ended("1", measured.begun(), 0, Broken())
    measured._try()
    assert "a call was not counted: ZeroDivisionError" in caplog.text
    assert "numbers cannot be written: FileNotFoundError" in caplog.text


def test_a_call_s_numbers_cost_little(counted: Path) -> None:
    """A call is noted and counted in some microseconds of CPU; here with a generous margin for a slow machine."""
    measured, one = Measured(Shared(counted, "worker-1")), admitted()
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for number in range(2000):
            start = measured.begun()
            measured.admitted(str(number), one)
            measured.ended(str(number), start, 10, Answered())
        best = min(best, (time.process_time() - began) / 2000)
    assert best < 20e-6, f"{best * 1e6:.1f} us"
