"""The rules by which the edge function's zip is built, each by itself; what comes of them is in test_edge_zip.py."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import Any

import botocore
import pytest

from infra.edge import __main__ as command
from infra.edge import authorities, botocore_data, wheels
from infra.edge.dependencies import reachable
from infra.edge.reproducible_zip import write_zip

DATA = "botocore/data/"
SERVICES = ("dynamodb", "secretsmanager")


@pytest.mark.parametrize(
    ("minor", "newest"), [(11, "manylinux_2_17_x86_64"), (12, "manylinux_2_34_x86_64"), (13, "manylinux_2_34_x86_64")]
)
def test_wheels_fit_the_runtimes_glibc(minor: int, newest: str) -> None:
    """No wheel needs a newer glibc than the runtime has."""
    assert wheels.platforms(minor)[0] == newest
    assert "manylinux2014_x86_64" in wheels.platforms(minor)


def test_what_the_edge_would_not_read_is_not_baked_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "baked.json").write_text(json.dumps({"issuer": "http://broker.example.com"}))
    assert command.main([str(tmp_path / "edge.zip"), "--config", str(tmp_path / "baked.json")]) == 1
    assert "a JSON object with the members" in capsys.readouterr().err
    assert not (tmp_path / "edge.zip").exists()


def test_zip_ignores_file_times_and_order(tmp_path: Path) -> None:
    """A zip does not depend on its files' times or order."""
    for folder, names in (("one", "ab"), ("two", "ba")):
        for name in names:
            path = tmp_path / folder / "sub" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        os.utime(tmp_path / folder / "sub" / "a", (1_000_000_000, 1_000_000_000 if folder == "one" else 1_500_000_000))
        (tmp_path / folder / "sub" / "b").chmod(0o600 if folder == "one" else 0o755)
        assert write_zip(tmp_path / folder, tmp_path / f"{folder}.zip") == 2
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def mozilla_s() -> str:
    return Path(botocore.__file__).with_name("cacert.pem").read_text("utf-8")


def test_amazon_s_authorities_are_found(tmp_path: Path) -> None:
    """Of Mozilla's list the five are taken that Amazon asks for, each under its own name."""
    (tmp_path / "cacert.pem").write_text(authorities.of_amazon(mozilla_s()))
    loaded: Any = ssl.create_default_context(cafile=tmp_path / "cacert.pem").get_ca_certs()
    names = [dict(pair for (pair,) in one["subject"])["commonName"] for one in loaded]
    assert sorted(names) == sorted(authorities.AUTHORITIES.values())


def test_a_list_without_one_builds_no_zip() -> None:
    """A list that lacks one of Amazon's authorities builds no zip, and neither does another of the same name."""
    bundle = mozilla_s()
    start = bundle.index("-----BEGIN", bundle.index('# Label: "Amazon Root CA 3"'))
    end = bundle.index("-----END", start)
    other = bundle[bundle.index("-----BEGIN") : bundle.index("-----END")]
    with pytest.raises(ValueError, match=r"of botocore lack Amazon Root CA 3$"):
        authorities.of_amazon(bundle[:start] + other + bundle[end:])


def test_newest_models_are_kept() -> None:
    """The services' newest models are kept, and everything that is not data."""
    services = {f"{DATA}{one}/{day}/service-2.json.gz" for one in ("dynamodb", "secretsmanager") for day in ("1", "2")}
    others = {f"{DATA}s3/1/service-2.json.gz", f"{DATA}dynamodb/2/waiters-2.json", f"{DATA}_utils.json"}
    kept = {"botocore/client.py", "botocore/cacert.pem", f"{DATA}endpoints.json", f"{DATA}partitions.json"}
    assert botocore_data.select(services | others | kept, SERVICES) == kept | {one for one in services if "/2/" in one}


def test_endpoints_are_trimmed() -> None:
    """Every partition keeps the endpoints of two services."""
    services = {name: {"endpoints": "of its own"} for name in ("dynamodb", "secretsmanager", "s3")}
    whole = {"version": 3, "partitions": [{"partition": name, "services": services} for name in ("aws", "aws-cn")]}
    shortened = json.loads(botocore_data.trim_endpoints(json.dumps(whole).encode(), SERVICES))
    assert [sorted(one["services"]) for one in shortened["partitions"]] == [["dynamodb", "secretsmanager"]] * 2
    assert shortened["version"] == 3


def test_late_imports_are_reached(tmp_path: Path) -> None:
    """A module is reached wherever in the source it is imported, with its package, but not for type checkers alone."""
    (tmp_path / "room").mkdir()
    files = {
        "start.py": "import json\nfrom room import one\nif TYPE_CHECKING:\n    import typed\nelse:\n    import other",
        "room/__init__.py": "",
        "room/one.py": "def late():\n    if 1:\n        from room.two import value",
        "room/two.py": "class A:\n    def __init__(self):\n        import start, three",
        **dict.fromkeys(("three.py", "typed.py", "other.py", "unused.py"), ""),
    }
    for name, source in files.items():
        (tmp_path / name).write_text(source)
    assert reachable("start", tmp_path) == {"start", "room", "room.one", "room.two", "three", "other"}
    (tmp_path / "three.py").write_text("def late():\n    from . import typed")
    with pytest.raises(ValueError, match="a relative import"):
        reachable("start", tmp_path)
