"""On a phone: what is there on a wide page is there, too, and every action can be reached; and what only a script does."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from tests.integration.console.console_process import ConsoleProcess
from tests.integration.console.window import Window
from tests.running import Running

WIDTH = 390


@pytest.fixture
def phone(windows: Callable[..., Window], console: ConsoleProcess) -> Window:
    return windows(console.enter, viewport={"width": WIDTH, "height": 844})


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("keys", ["anthropic", "in force", "by hand", "Freeze"]),
        ("grants", ["POST:/v1/messages", "1,000 tokens each hour", "not today", "Freeze"]),
        ("", ["ci, openai", "Revoke"]),
    ],
)
def test_all_of_a_row_is_within_the_page(
    path: str, wanted: list[str], phone: Window, console: ConsoleProcess, running: Running
) -> None:
    """No column is cut, left out or reached by scrolling sideways alone."""
    running.complete(running.token("87001"))
    page = phone.page
    page.goto(console.url + path)
    for text in wanted:
        box = page.locator("table").get_by_text(text).first.bounding_box()
        assert box is not None, text
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= WIDTH, text
    for scrolled in page.locator(".scroll").all():
        assert scrolled.evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0


def test_a_time_is_one_line(phone: Window, console: ConsoleProcess, running: Running) -> None:
    """An event's time is not broken into lines."""
    running.token("87002")
    phone.page.goto(f"{console.url}audit")
    box = phone.page.locator("main time").first.bounding_box()
    assert box is not None
    assert box["height"] < 30


def test_the_command_has_the_reason_that_is_typed(window: Window, console: ConsoleProcess, running: Running) -> None:
    """What is copied from a confirmation says what was typed there, quoted for a shell."""
    running.token("87003")
    page = window.page
    page.goto(console.revoke(running.sub("87003")))
    page.get_by_label("Reason").fill("it's $HOME; 3 at night")
    copied = page.locator("[data-reason-of] [data-copy]").get_attribute("data-copy") or ""
    assert shlex.split(copied) == [
        *("keybroker", "revoke", "principal", running.sub("87003"), "--reason", "it's $HOME; 3 at night")
    ]
