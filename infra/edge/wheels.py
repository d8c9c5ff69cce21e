"""Downloads third-party wheels: the locked files, for Lambda's runtime of this interpreter's minor version."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra import lock

_MISMATCH = "DO NOT MATCH THE HASHES"
"""What pip says of a file with another hash."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def platforms(minor: int) -> tuple[str, ...]:
    """Return the platforms whose wheels Lambda's Python 3.<minor> can load, newest first.

    Up to 3.11 it runs on Amazon Linux 2 (glibc 2.26), from 3.12 on Amazon Linux 2023 (2.34). Lambda@Edge is x86_64 only.
    """
    glibc = 26 if minor < 12 else 34
    return (*(f"manylinux_2_{one}_x86_64" for one in (34, 28, 17) if one <= glibc), "manylinux2014_x86_64")


def wheels(versions: Mapping[str, str], folder: Path, locks: Mapping[str, lock.Locked]) -> dict[str, bytes]:
    """Return the content of a wheel of each distribution; pip downloads those that are not in the folder yet.

    Raises ValueError if an installed version is not the locked one, or a wheel is not a locked file, and RuntimeError if
    pip downloads none.
    """
    for name, version in versions.items():
        if (one := locks.get(lock.normalized(name))) is None or one.version != version:
            raise ValueError(f"{name} {version} is installed, but not in requirements.lock: run make setup")
    missing = {lock.normalized(name) for name, version in versions.items() if not lock.wheels_of(folder, name, version)}
    if missing:
        download(folder, {name: locks[name] for name in missing})
    return {
        name: lock.verified(lock.wheels_of(folder, name, version)[0], locks[lock.normalized(name)])
        for name, version in versions.items()
    }


def download(folder: Path, locks: Mapping[str, lock.Locked]) -> None:
    """Download wheels for Lambda into a folder, each checked against its hashes by pip.

    Raises ValueError if an index has another file than the locked one, and RuntimeError if pip downloads none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--dest", str(folder), "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    command += ["--require-hashes", "--requirement"]
    on = [part for platform in platforms(sys.version_info.minor) for part in ("--platform", platform)]
    with tempfile.TemporaryDirectory() as name:
        wanted = Path(name) / "wanted.txt"
        lines = (
            f"{name}=={one.version} " + " ".join(f"--hash=sha256:{digest}" for digest in sorted(one.digests))
            for name, one in sorted(locks.items())
        )
        wanted.write_text("\n".join(lines))
        done = subprocess.run([*command, str(wanted), *on], capture_output=True, text=True, timeout=600)  # noqa: S603, PLW1510  pip; its output goes into the error
    if _MISMATCH in done.stderr:
        raise ValueError(f"what pip downloaded is not the locked file (requirements.lock):\n{done.stderr}")
    if done.returncode:
        raise RuntimeError(f"pip downloaded no wheels:\n{done.stderr}")
