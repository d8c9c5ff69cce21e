from __future__ import annotations

import platform
from pathlib import Path

from local.metrics import names
from local.metrics.exposition import Exposition, Reading
from local.metrics.names import MOST_NAMES


def test_the_parent_s_labels_are_bounded(counted: Path) -> None:
    """A policy of thousands of keys makes a page of bounded size, and no name breaks a line."""
    readings = [Reading(names.KEY_SET, (f'key-{one}"\n',), one) for one in range(10_000)]
    lines = Exposition(counted, [lambda: readings]).text().decode().splitlines()
    assert len([one for one in lines if one.startswith("keybroker_key_set_timestamp_seconds{")]) == MOST_NAMES
    assert 'keybroker_key_set_timestamp_seconds{keybroker_key="key-7\\"\\n"} 7.0' in lines


def test_what_serves_is_said(counted: Path) -> None:
    """The page says which Keybroker and which Python serve, before any call."""
    text = Exposition(counted).text().decode()
    assert f'process_runtime_version="{platform.python_version()}"' in text
    assert text.count("keybroker_build_info{") == 1
