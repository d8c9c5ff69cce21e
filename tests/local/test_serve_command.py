"""What `serve` is told on the command line, and what goes together."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.__main__ import main

Output = pytest.CaptureFixture[str]


def refused(capsys: Output, *arguments: str) -> str:
    """Return the last line of what is said to options that do not go together."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "twice",
    [
        *(("--state", "x"), ("--port", "0"), ("--policy", "x"), ("--workers", "1"), ("--keep-records", "7")),
        ("--provider-timeout", "1"),
    ],
)
def test_what_is_in_the_file_is_said_once(capsys: Output, twice: tuple[str, str]) -> None:
    """An option that the file has does not stand beside it."""
    assert f"{twice[0]}: say that in the configuration file, k.toml" in refused(
        capsys, "serve", "--config", "k.toml", *twice
    )


def test_an_installation_names_its_state(capsys: Output) -> None:
    """In an installation nobody serves real keys from a directory that is deleted at the end."""
    said = refused(capsys, "--installed", "serve")
    assert "--config FILE" in said
    assert "--state DIR" in said
    assert said.startswith("keybroker serve: error:")


@pytest.mark.parametrize("url", ["http://broker.example.com", "https://broker.example.com/path", "broker.example.com"])
def test_a_public_url_is_https(capsys: Output, url: str) -> None:
    """What callers are told to use is https, and a host."""
    assert "must be https://NAME" in refused(capsys, "serve", "--public-url", url)


def test_a_configuration_that_is_not_there_is_one_line(tmp_path: Path, capsys: Output) -> None:
    """A file that cannot be read is one line with its path."""
    assert main(["serve", "--config", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err == f"error: [Errno 2] No such file or directory: '{tmp_path / 'none.toml'}'\n"


def test_three_faults_are_three_lines(tmp_path: Path, capsys: Output) -> None:
    """Each fault of a configuration is one line with its line's number, and nothing is made."""
    text = "workers = 0\nlog_levle = 'info'\n[state]\ndirectory = 'state'\n[edge]\nlisten = 'localhost'\n"
    (tmp_path / "keybroker.toml").write_text(text)
    for words in ([], ["--check"]):
        assert main(["serve", "--config", str(tmp_path / "keybroker.toml"), *words]) == 1
        lines = capsys.readouterr().err.splitlines()
        places = [line.removeprefix(f"error: {tmp_path}/keybroker.toml:").split(": ")[:2] for line in lines]
        assert places == [["1", "workers"], ["2", "log_levle"], ["6", "edge.listen"]]
    assert not (tmp_path / "state").exists()
