"""Keys are replaced and rolled back from their page, over a running Keybroker of which the broker manages one key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.practice.key_account import MANAGEMENT_KEY
from local.practice.openai_admin import PROJECT, SERVICE_ACCOUNT
from tests.keybroker.console.browser import Browser, Shown
from tests.keybroker.console.conftest import console
from tests.running import Running, start

BY_HAND = "the provider has to be told to delete it, by hand"


@pytest.fixture(scope="module")
def managed() -> Iterator[Running]:
    """A broker that replaces `openai` by the provider's API."""
    with start() as running:
        settings = {"project": PROJECT, "service_account": SERVICE_ACCOUNT}
        body = {"value": MANAGEMENT_KEY, "settings": settings}
        assert running.administer("PUT", "/admin/keys/openai/management", body).status == 200
        yield running


@pytest.fixture(scope="module")
def opened(managed: Running) -> Iterator[Browser]:
    """A browser that has opened a console of it."""
    with console(managed) as browser:
        browser.enter()
        yield browser


def version(running: Running) -> str:
    """Return the version of `openai` that is in force."""
    items = running.administer("GET", "/admin/keys").json["items"]
    return next(str(one["version"]) for one in items if one["name"] == "openai")


def asked(browser: Browser, action: str) -> Shown:
    """Ask before something is done to `openai`."""
    return browser.get(f"/keys/action?name=openai&action={action}")


def test_who_deletes_the_key_before(managed: Running, opened: Browser) -> None:
    """After a rotation the list and the result say alike whether the broker deletes the key before, or nobody does."""
    first, form = version(managed), asked(opened, "rotate").inputs()
    done = opened.post("/keys/action", form)
    assert version(managed) != first
    assert "key_changed" in opened.post("/keys/action", form).text, "the same form is one rotation"
    assert "deleted at the provider" not in done.text
    assert BY_HAND in done.text
    assert BY_HAND in opened.get("/keys").text
    again = opened.post("/keys/action", asked(opened, "rollback").inputs())
    assert "is then deleted at the provider" in again.text
    assert "is then deleted at the provider" in opened.get("/keys").text
    assert BY_HAND not in opened.get("/keys").text


def test_a_rollback_that_is_sent_again_undoes_nothing(managed: Running, opened: Browser) -> None:
    """A rollback leads to a page that can be loaded again, and the same form, sent again, is refused."""
    form = asked(opened, "rollback").inputs()
    done = opened.post("/keys/action", form)
    after = version(managed)
    assert after != form["version"]
    assert f"In force: version {after}" in done.text
    again = opened.post("/keys/action", form)
    assert (again.status, "key_changed" in again.text) == (502, True)
    assert version(managed) == after
