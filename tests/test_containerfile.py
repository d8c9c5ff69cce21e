"""Containerfile: its steps are done here as far as that goes without an engine and an index, and what they make serves."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra import lock
from tests.running import ROOT, call

TEXT = (ROOT / "Containerfile").read_text("utf-8")
LOCK = lock.read((ROOT / "server.lock").read_text("utf-8"))
Step = tuple[str, str]
"""An instruction, and what follows it."""


def steps() -> list[Step]:
    """The instructions, without comments."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def stages() -> list[list[Step]]:
    """The instructions of each stage."""
    found: list[list[Step]] = []
    for one in steps():
        if one[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found


def of(name: str, among: Sequence[Step]) -> list[str]:
    return [rest for instruction, rest in among if instruction == name]


@dataclass
class Image:
    """What the steps make of an empty directory. external: the steps that need an index."""

    root: Path
    external: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def build(self) -> None:
        built, final = stages()
        for instruction, rest in built:
            self._do(instruction, rest)
        copied = [rest for rest in of("COPY", final) if rest.startswith("--from=")]
        assert copied == ["--from=built /opt/keybroker /opt/keybroker"]
        shutil.rmtree(self.at("/build"))  # nothing else goes on to the image
        for instruction, rest in final:
            if instruction == "ENV":
                name, _, value = rest.partition("=")
                self.environment[name] = value
            elif instruction == "WORKDIR":
                self.workdir = rest
            elif instruction == "ENTRYPOINT":
                self.entrypoint = json.loads(rest)

    def _do(self, instruction: str, rest: str) -> None:
        if instruction == "COPY":
            *sources, target = rest.split()
            for source in sources:
                self._copy(ROOT / source, target)
        elif instruction == "RUN" and "install" in rest:
            self.external.append(rest)
            self._link_packages()
        elif instruction == "RUN":
            words = [sys.executable if word == "python" else word for word in shlex.split(rest)]
            command = [str(self.at(word)) if word.startswith("/opt/") else word for word in words]
            subprocess.run(command, check=True, timeout=120, env={"PATH": os.defpath})

    def _copy(self, source: Path, target: str) -> None:
        place = self.at(target) / source.name if target.endswith("/") else self.at(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
        for one in (place, *place.rglob("*")):  # as umask 077 leaves a checkout
            one.chmod(0o700 if one.is_dir() else 0o600)

    def _link_packages(self) -> None:
        """Give the environment what is locked and here, and nothing else that is here."""
        (site,) = self.at("/opt/keybroker/lib").glob("python*/site-packages")
        for name in LOCK:
            try:
                distribution = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # of another system, or of an older Python
            for top in {one.parts[0] for one in distribution.files or () if one.parts[0] not in ("..", "__pycache__")}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(distribution.locate_file(top))))

    def command(self, *arguments: str) -> list[str]:
        program, *rest = self.entrypoint
        return [str(self.at(program)), *rest, *arguments]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    return made


def test_layers_are_few() -> None:
    """The image has one layer over its base, and no step of it runs as root."""
    built, final = stages()
    assert len(of("COPY", final)) == 1
    assert of("RUN", final) == []
    assert of("ADD", built + final) == []
    assert len(of("RUN", built)) <= 4


def test_it_is_nobody_s_root() -> None:
    """It runs as a user by number, so that runAsNonRoot can be checked."""
    (user,) = of("USER", stages()[1])
    assert user == "65532:65532"


def test_everybody_may_read_what_is_ours(image: Image) -> None:
    """Whatever modes a checkout has, the image's user can read every file of ours, and change none."""
    ours = [image.at("/opt/keybroker/server"), *image.at("/opt/keybroker/server").rglob("*")]
    assert len(ours) > 200
    for one in ours:
        mode = one.stat().st_mode
        assert mode & 0o007 == (0o005 if one.is_dir() else 0o004), one


def test_long_bodies_have_a_place() -> None:
    """The only place that can be written to is /tmp, since the images run read-only."""
    assert of("VOLUME", stages()[-1]) == ["/tmp"]


def test_packages_are_those_that_are_locked() -> None:
    """Every package is one of the locked files, and nothing is built from source."""
    (install,) = [one for one in of("RUN", stages()[0]) if " install " in one]
    for option in ("--require-hashes", "--only-binary=:all:", "--no-deps", "-r /build/server.lock"):
        assert option in install
    assert "--index" not in install
    assert "trusted-host" not in install


def _of_extra(name: str, extras: Mapping[str, Sequence[str]]) -> Iterator[Requirement]:
    """Yield what an extra of ours needs, through the others that it names."""
    for one in map(Requirement, extras[name]):
        if one.name == "keybroker":
            for other in one.extras:
                yield from _of_extra(other, extras)
        else:
            yield one


def test_the_lock_agrees_with_pyproject() -> None:
    """server.lock has what the extra `server` needs, in the versions that requirements.lock has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in _of_extra("server", extras):
        name = lock.normalized(wanted.name)
        assert name in LOCK, f"{wanted}: run make lock"
        assert wanted.specifier.contains(LOCK[name].version), f"{wanted}: run make lock"
    assert {name: LOCK[name] for name in lock.current()} == lock.current()


def test_the_base_can_be_a_digest() -> None:
    """The one base is an argument, so that a build can name it by its digest."""
    assert {rest.partition(" ")[0] for rest in of("FROM", steps())} == {"${PYTHON}"}


def test_what_is_not_copied_is_not_sent() -> None:
    """The context has what is copied, and no bytecode that was left here."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sources = {word for rest in of("COPY", stages()[0]) for word in rest.split()[:-1]}
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == sources
    assert lines[-1] == "**/__pycache__"
    assert "*" in lines


@contextlib.contextmanager
def _served(image: Image, command: list[str], door: str) -> Iterator[str]:
    """Give the URL of a door that a command of the image serves without tables, and see it end with 0."""
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    process = subprocess.Popen(
        command,
        cwd=image.at(image.workdir),
        env={**environment, **image.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield json.loads(line)[door]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_what_it_makes_serves_and_writes_nothing(image: Image) -> None:
    """With the locked packages alone the image's command serves, is not ready without tables, and ends with 0."""
    before = _files(image.root)
    told = ("--region", "eu-central-1", "--stage", "keybroker", "--issuer", "https://broker.example.com")
    command = image.command(*told, "--url", "https://keys.example.com", "--port", "0", "--drain-delay", "0", "--json")
    with _served(image, command, "gateway") as url:
        assert call("GET", f"{url}/healthz", patience=0).status == 200
        assert call("GET", f"{url}/readyz", patience=0).status == 503
    assert _files(image.root) == before
    assert len(image.external) == 1
    assert re.search(r"pip .* install", image.external[0])


@pytest.mark.slow
def test_a_broker_of_its_own_is_in_it(image: Image, tmp_path: Path) -> None:
    """With another command the image serves a stage's broker: not ready without tables, it issues nothing, and ends with 0."""
    (tmp_path / "keybroker.toml").write_text(
        "[tables]\nregion = 'eu-central-1'\nstage = 'keybroker'\nissuer = 'https://broker.example.com'\n"
        "edge_url = 'https://keys.example.com'\nsigning_key = 'arn:aws:kms:eu-central-1:123456789012:key/1'\n"
        "[broker]\nlisten = '127.0.0.1:0'\n[timeouts]\ndrain_delay_seconds = 0\n"
    )
    serve = ["-m", "local", "serve", "--config", str(tmp_path / "keybroker.toml"), "--json"]
    with _served(image, [str(image.at(image.entrypoint[0])), *serve], "broker") as url:
        assert call("GET", f"{url}/readyz", patience=0).status == 503
        assert call("GET", f"{url}/.well-known/jwks.json", patience=0).status == 503


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}
