"""The configuration file: what it says, and every fault in it with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import configuration
from local.configuration import InvalidConfigurationError, TlsFiles
from tests.local.configuration_files import faults, read

STATE = '[state]\ndirectory = "state"\n'
WHOLE = """\
policy = "keybroker.yaml"
prices = "prices.json"
workers = 2
log_level = "warning"
trusted_proxies = ["10.0.0.7", "10.1.0.0/16"]
trusted_hops = 2

[broker]
listen = "0.0.0.0:8443"
public_url = "https://broker.example.com"

[edge]
listen = "[::]:8444"
public_url = "https://llm.example.com/"

[administration]
listen = "unix:admin.sock"

[tls]
certificate = "tls/fullchain.pem"
key = "tls/key.pem"

[state]
directory = "/var/lib/keybroker"
keep_records_days = 400

[timeouts]
provider_seconds = 600
drain_seconds = 30
"""


def test_a_whole_file(tmp_path: Path) -> None:
    """Everything that can be said is read, paths from where the file is."""
    found = read(tmp_path, WHOLE)
    assert found.administration is not None
    assert (found.policy, found.prices) == (tmp_path / "keybroker.yaml", tmp_path / "prices.json")
    assert found.tls == TlsFiles(tmp_path / "tls/fullchain.pem", tmp_path / "tls/key.pem")
    assert [str(one.listen) for one in (found.broker, found.edge)] == ["0.0.0.0:8443", "[::]:8444"]
    assert (found.broker.public_url, found.edge.public_url) == ("https://broker.example.com", "https://llm.example.com")
    assert found.administration.listen.path == tmp_path / "admin.sock"
    assert (found.workers, found.log_level, found.keep_records) == (2, "warning", 400)
    assert (found.provider_timeout, found.drain_seconds) == (600, 30)
    assert [str(one) for one in found.trusted_proxies] == ["10.0.0.7/32", "10.1.0.0/16"]
    assert found.trusted_hops == 2
    assert (found.state, found.practice, found.apply, found.set_keys) == (
        Path("/var/lib/keybroker"),
        None,
        False,
        False,
    )


def test_what_is_left_out_is_safe(tmp_path: Path) -> None:
    """A file that names the state alone serves loopback, each door at an address of its own, without practice."""
    found = read(tmp_path, STATE)
    assert found.administration is not None
    doors = (found.broker, found.edge, found.administration)
    assert [str(one.listen) for one in doors] == ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"]
    assert (found.practice, found.tls, found.trusted_proxies, found.state) == (None, None, (), tmp_path / "state")


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    """Faults of every kind are told together, each with its line and field, what was found and what is allowed."""
    text = f'workers = 0\n# a comment\nlog_levle = "info"\n\n[edge]\nlisten = "localhost:80"\n{STATE}'
    assert faults(tmp_path, text) == [(1, "workers"), (3, "log_levle"), (6, "edge.listen")]
    with pytest.raises(InvalidConfigurationError) as caught:
        read(tmp_path, text)
    [workers, misspelt, listen] = str(caught.value).splitlines()
    assert workers.endswith("keybroker.toml:1: workers: found 0, allowed: a whole number from 1 to 64")
    assert misspelt.endswith("keybroker.toml:3: log_levle: found an unknown name, allowed: log_level")
    assert "found 'localhost:80', allowed: an IP address and a port" in listen


def test_faults_of_syntax_are_told_with_the_others(tmp_path: Path) -> None:
    """A line that is no TOML hides no other fault, and makes none up."""
    assert faults(tmp_path, "workers = two\n[state]\ndirectory = state\n[timeouts]\ndrain_seconds = 0\n") == [
        (1, ""),
        (3, ""),
        (5, "timeouts.drain_seconds"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [(1, "state.directory")]),
        (f"{STATE}directry = 1\n", [(3, "state.directry")]),
        ("state = 1\n", [(1, "state"), (1, "state.directory")]),
        (f"{STATE}[state.inner]\nx = 1\n", [(3, "state.inner")]),
        (f"{STATE}[tls]\nkey = 'k'\n", [(3, "tls.certificate")]),
        (f"{STATE}[tls]\ncertificate = 'c'\n", [(3, "tls.key")]),
        (f"{STATE}[edge]\nlisten = '127.0.0.1:8080'\n", [(4, "edge.listen")]),
        (f"{STATE}[practice]\nttl = 1\n", [(3, "practice")]),
        (f"{STATE}[administration]\nbeyond_loopback = 1\n", [(4, "administration.beyond_loopback")]),
        (f"{STATE}[edge]\nlisten = 'unix:edge.sock'\n", [(4, "edge.listen")]),
    ],
)
def test_faults(tmp_path: Path, text: str, found: list[tuple[int, str]]) -> None:
    """What is missing, unknown, of another type or said twice is a fault at its line."""
    assert faults(tmp_path, text) == found


@pytest.mark.parametrize("door", ["broker", "edge"])
def test_plain_http_stays_on_this_machine(tmp_path: Path, door: str) -> None:
    """Beyond loopback a door needs a certificate, or proxies in front of it that have one."""
    beyond = f"[{door}]\nlisten = '10.0.0.1:80'\n"
    assert faults(tmp_path, STATE + beyond) == [(4, f"{door}.listen")]
    assert faults(tmp_path, "trusted_proxies = []\n" + STATE + beyond) == [(5, f"{door}.listen")]
    assert read(tmp_path, f"trusted_proxies = ['10.0.0.7']\n{STATE}{beyond}").state
    assert read(tmp_path, f"{STATE}{beyond}[tls]\ncertificate = 'c'\nkey = 'k'\n").tls


def test_administration_stays_on_loopback(tmp_path: Path) -> None:
    """Administration is beyond loopback only where that is said in a word, and then not in the clear."""
    tls = f"{STATE}[tls]\ncertificate = 'c'\nkey = 'k'\n"
    beyond = "[administration]\nlisten = '10.0.0.1:80'\n"
    assert faults(tmp_path, tls + beyond) == [(7, "administration.listen")]
    assert faults(tmp_path, f"{tls}{beyond}beyond_loopback = false\n") == [(7, "administration.listen")]
    assert faults(tmp_path, f"{STATE}{beyond}beyond_loopback = true\n") == [(4, "administration.listen")]
    assert read(tmp_path, f"{tls}{beyond}beyond_loopback = true\n").state


def test_metrics_stay_on_loopback(tmp_path: Path) -> None:
    """The numbers are nowhere unless that is said, and beyond loopback only where that is said in a word."""
    assert read(tmp_path, STATE).metrics is None
    found = read(tmp_path, f"metrics = '127.0.0.1:9464'\n{STATE}")
    assert str(found.places()["metrics"]) == "127.0.0.1:9464"
    assert faults(tmp_path, f"metrics = '0.0.0.0:9464'\n{STATE}") == [(1, "metrics")]
    assert faults(tmp_path, f"metrics = '127.0.0.1:8081'\n{STATE}") == [(1, "metrics")]
    assert faults(tmp_path, f"metrics = 'unix:metrics.sock'\n{STATE}") == [(1, "metrics")]
    assert read(tmp_path, f"metrics = '0.0.0.0:9464'\nmetrics_beyond_loopback = true\n{STATE}").metrics


def test_every_address_is_no_url(tmp_path: Path) -> None:
    """Who listens at every address has to say what callers use."""
    tls = f"{STATE}[tls]\ncertificate = 'c'\nkey = 'k'\n"
    assert faults(tmp_path, f"{tls}[broker]\nlisten = '0.0.0.0:443'\n") == [(6, "broker.public_url")]


@pytest.mark.parametrize(
    ("raw", "line"), [(b"a = 1\n\xff\n", 2), (b"# " + b"x" * 70_000, 1)], ids=["not UTF-8", "too large"]
)
def test_what_is_no_text(tmp_path: Path, raw: bytes, line: int) -> None:
    """A file that is no text, or too large, is one fault."""
    (tmp_path / "keybroker.toml").write_bytes(raw)
    with pytest.raises(InvalidConfigurationError) as caught:
        configuration.read(tmp_path / "keybroker.toml")
    assert [(one.line, one.field) for one in caught.value.faults] == [(line, "")]
