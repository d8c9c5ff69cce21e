"""`python -m local gateway`: what it may be told, and how it says what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from local.__main__ import main
from tests.running import ROOT

TOLD = {
    "--region": "eu-central-1",
    "--stage": "keybroker",
    "--issuer": "https://broker.example.com",
    "--url": "https://keys.example.com",
}


def arguments(**changes: str) -> list[str]:
    told = {**TOLD, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return ["gateway", *(word for pair in told.items() for word in pair)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region": "Frankfurt"}, "a region such as eu-central-1, not 'Frankfurt'"),
        ({"stage": "Keybroker"}, "2 to 24 lower-case letters, digits and hyphens, not 'Keybroker'"),
        ({"issuer": "http://broker.example.com"}, "an https:// URL without a slash at its end"),
        ({"url": "https://keys.example.com/"}, "an https:// URL without a slash at its end"),
        ({"workers": "0"}, "must be a whole number from 1 to 64, not '0'"),
        ({"drain": "1.5"}, "must be a whole number from 1 to 3600, not '1.5'"),
        ({"host": "localhost"}, "an IP address, not 'localhost'"),
        ({"trusted_proxies": "10.0.0.0/8,0.0.0.0/0"}, "none of them all addresses"),
        ({"trusted_proxies": "the ingress"}, "IP addresses and networks with commas between"),
        ({"port": "65536"}, "must be a whole number from 0 to 65535"),
    ],
)
def test_what_is_no_use_is_said(changes: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that is no use is told in one line, with what is allowed, and nothing starts."""
    with pytest.raises(SystemExit) as caught:
        main(arguments(**changes))
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_beyond_this_machine_it_speaks_tls(capsys: pytest.CaptureFixture[str]) -> None:
    """It listens beyond this machine only with TLS, or if what takes TLS off in front of it is named."""
    with pytest.raises(SystemExit) as caught:
        main(arguments(host="0.0.0.0"))  # noqa: S104  it is refused
    assert caught.value.code == 2
    assert "--host beyond this machine needs --tls-certificate, or --trusted-proxies" in capsys.readouterr().err


def test_metrics_stay_on_loopback_at_a_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers of a gateway are beyond this machine only where that is said in a word."""
    with pytest.raises(SystemExit) as caught:
        main(arguments(metrics="10.0.0.1:9464"))
    assert caught.value.code == 2
    assert "--metrics beyond this machine needs --metrics-beyond-loopback" in capsys.readouterr().err


def test_a_certificate_has_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate without its key is told, and so is one that cannot be read."""
    with pytest.raises(SystemExit) as caught:
        main(arguments(tls_certificate="/nowhere/cert.pem"))
    assert caught.value.code == 2
    assert "--tls-certificate and --tls-key belong together" in capsys.readouterr().err
    assert main(arguments(tls_certificate="/nowhere/cert.pem", tls_key="/nowhere/key.pem")) == 1
    assert "tls_unusable (/nowhere/cert.pem cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("missing", TOLD)
def test_a_name_is_never_guessed(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Region, stage and URLs have no defaults: another stage's tables would be another's limits."""
    words = arguments()
    at = words.index(missing)
    with pytest.raises(SystemExit) as caught:
        main([*words[:at], *words[at + 2 :]])
    assert caught.value.code == 2
    assert missing in capsys.readouterr().err


def test_an_endpoint_without_a_host_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that names an endpoint of AWS, and is no URL, ends a start in one line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "dynamodb")
    assert main(arguments(port="0")) == 1
    assert "cannot start: stage_unusable (the endpoint of dynamodb is no URL)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_port_in_use_is_one_line() -> None:
    """A port that another has is one line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "local", *arguments(port=port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} is in use or not allowed for the gateway (Address already in use)\n"
