from __future__ import annotations

import pytest

from keybroker.retry_after import retry_after

NOW = 1_794_000_000.0  # 2026-11-06T21:20:00Z


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("Fri, 06 Nov 2026 21:20:30 GMT", 30),
        ("Fri, 06 Nov 2026 21:19:30 GMT", 0),
        ("-1", None),
        ("1.5", None),
        ("9" * 10, None),
        ("\u0667", None),
        ("soon", None),
        ("Fri, 06 Nov 99999 21:20:30 GMT", None),
    ],
)
def test_both_forms_of_the_header_are_read(value: str | None, seconds: int | None) -> None:
    """Retry-After is a number of seconds or a date; what is neither asks for nothing."""
    assert retry_after(value, NOW) == seconds
