"""`[tables]` of a configuration file: what it says of a stage, and what it may not say beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.configuration_stage import StageTables
from tests.local.configuration_files import faults, read

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TABLES = f"""\
[tables]
region = "eu-central-1"
stage = "keybroker-prod"
issuer = "https://keybroker.example.com/api"
signing_key = "{KEY}"
"""
EDGE = "[edge]\npublic_url = 'https://gateway.example.com'\n"
BROKER = "[broker]\n"
BOTH = TABLES + BROKER + EDGE


def test_both_doors_are_read(tmp_path: Path) -> None:
    """A file with both doors says everything that they need; time-outs are a gateway's unless told."""
    found = read(tmp_path, BOTH)
    assert found.tables == StageTables(
        region="eu-central-1",
        stage="keybroker-prod",
        issuer="https://keybroker.example.com/api",
        edge_url="https://gateway.example.com",
        signing_key=KEY,
        secrets_region="eu-central-1",
        doors=("broker", "edge"),
        drain_delay=5,
        keep_alive=75,
    )
    assert (found.state, found.administration, found.drain_seconds) == (None, None, 100)


@pytest.mark.parametrize(("door", "opened"), [(BROKER + EDGE, ["broker", "edge"]), (EDGE, ["edge"])])
def test_only_named_doors_are_opened(tmp_path: Path, door: str, opened: list[str]) -> None:
    """A door that the file does not name is not opened: its role may be one that could not serve it."""
    tables = read(tmp_path, TABLES + door).tables
    assert tables
    assert list(tables.doors) == opened


def test_a_broker_alone_names_the_edge(tmp_path: Path) -> None:
    """A broker without an edge beside it has to be told where its tokens open calls, and may listen at any address by TLS."""
    assert faults(tmp_path, TABLES + BROKER) == [(1, "tables.edge_url")]
    tls = "[tls]\ncertificate = 'a'\nkey = 'b'\n"
    told = TABLES + 'edge_url = "https://cdn.example.com"\n' + BROKER + 'listen = "0.0.0.0:443"\n' + tls
    tables = read(tmp_path, told).tables
    assert tables
    assert (tables.edge_url, tables.doors) == ("https://cdn.example.com", ("broker",))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TABLES, [(1, "tables"), (1, "tables.edge_url")]),
        ("[tables]\n" + EDGE, [(1, "tables.issuer"), (1, "tables.region"), (1, "tables.stage")]),
        (
            TABLES.replace("signing_key", "signing_kye") + BROKER + EDGE,
            [(1, "tables.signing_key"), (5, "tables.signing_kye")],
        ),
        (BOTH + "[state]\ndirectory = 'state'\n", [(10, "state.directory")]),
        (BOTH + "[state]\nkeep_records_days = 30\n", [(10, "state.keep_records_days")]),
        ("policy = 'keybroker.yaml'\n" + BOTH, [(1, "policy")]),
        (BOTH + "[administration]\n", [(9, "administration")]),
        (BOTH + "[administration]\nlisten = '127.0.0.1:8082'\n", [(9, "administration")]),
        (TABLES + EDGE + BROKER + "public_url = 'https://a.example'\n", [(9, "broker.public_url")]),
        (TABLES + "[edge]\n", [(6, "edge.public_url")]),
        (BOTH.replace('eu-central-1"', 'Frankfurt"'), [(2, "tables.region")]),
        (BOTH.replace("https://keybroker", "http://keybroker"), [(4, "tables.issuer")]),
        (BOTH.replace("/api", "/api/"), [(4, "tables.issuer")]),
        (BOTH.replace(KEY, "alias/keybroker"), [(5, "tables.signing_key")]),
        (BOTH.replace("keybroker-prod", "Keybroker"), [(3, "tables.stage")]),
        (TABLES + "[edge]\nlisten = '0.0.0.0:80'\npublic_url = 'https://a.example'\n", [(7, "edge.listen")]),
        (BOTH + "listen = '127.0.0.1:8080'\n", [(9, "edge.listen")]),
        (BOTH + "[timeouts]\ndrain_seconds = 3601\n", [(10, "timeouts.drain_seconds")]),
        ("tables = 1\n", [(1, "state.directory"), (1, "tables")]),
    ],
)
def test_each_fault_has_its_field(tmp_path: Path, text: str, found: list[tuple[int, str]]) -> None:
    """What a stage's doors need and lack, and what its tables say already, is told with its line."""
    assert faults(tmp_path, text) == found


@pytest.mark.parametrize("name", ["drain_delay_seconds = 5", "keep_alive_seconds = 75", "drain_seconds = 301"])
def test_a_gateway_s_times_are_a_gateway_s(tmp_path: Path, name: str) -> None:
    """A server with a state directory has no such time, and is not told one that it would pass over."""
    text = f"[state]\ndirectory = 'state'\n[timeouts]\n{name}\n"
    assert faults(tmp_path, text) == [(4, f"timeouts.{name.split(' ', maxsplit=1)[0]}")]
