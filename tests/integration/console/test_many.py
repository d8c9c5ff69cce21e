"""Ten thousand principals: they are read once, and searched, sorted and paged here."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from tests.integration.console.console_process import console_of
from tests.integration.console.scripted_front import Reply, front_of, json_reply
from tests.integration.console.window import Window
from tests.running import Running

COUNT = 10_000
PRINCIPALS = [
    {
        "principal": f"https://ci.example|repository_id:{number}",
        "name": f"octo-org/service-{number:05}",
        "grants": ["ci"],
        "calls": number * 7 % COUNT,
        "refused": number % 5,
        "tokens": number % 3,
        "last_seen": 1_795_500_000 + number,
    }
    for number in range(COUNT)
]


def many(method: str, path: str) -> Reply | None:
    """Answer the list of principals in the pages that are asked for."""
    if method != "GET" or urlsplit(path).path != "/admin/principals":
        return None
    query = parse_qs(urlsplit(path).query)
    start, limit = int(query.get("after", ["0"])[0]), int(query["limit"][0])
    ends = start + limit
    return json_reply(200, {"items": PRINCIPALS[start:ends], "next": str(ends) if ends < COUNT else None})


def test_ten_thousand_are_searched_sorted_and_paged(running: Running, windows: Callable[..., Window]) -> None:
    """All of them are counted; a search finds one in a second; orders and pages hold, and 50 rows are shown at most."""
    with front_of(running.broker) as front, console_of(running, front.url) as console:
        front.script = many
        page = windows(console.enter).page
        page.goto(f"{console.url}principals")
        assert "10,000 of 10,000" in page.locator("#found").inner_text()
        assert page.locator("#found tbody tr").count() == 50
        listed = len([one for one in front.asked if one[1].startswith("/admin/principals?")])
        page.get_by_label("Search").fill("service-07777")
        page.get_by_text("1 of 10,000").wait_for(timeout=2_000)
        page.get_by_label("Search").fill("")
        page.get_by_text("10,000 of 10,000").wait_for(timeout=2_000)
        page.get_by_label("Sort by").select_option("name")
        page.get_by_role("link", name="octo-org/service-00000", exact=True).wait_for(timeout=2_000)
        page.get_by_role("link", name="Next").click()
        page.get_by_text("Page 2 of 200").wait_for()
        first = page.locator("#found tbody a").first
        assert first.inner_text() == "octo-org/service-00050"
        page.goto(f"{console.url}principals?sort=calls&page=200")
        assert page.locator("#found tbody tr").count() == 50
        assert page.get_by_role("link", name="Next").count() == 0
        again = len([one for one in front.asked if one[1].startswith("/admin/principals?")])
        assert listed == 50
        assert again <= 100  # read again after 15 seconds, on a busy machine
