"""Downloads third-party wheels: the installed versions, for Lambda's runtime of this interpreter's minor version."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def platforms(minor: int) -> tuple[str, ...]:
    """Return the platforms whose wheels Lambda's Python 3.<minor> can load, newest first.

    Up to 3.11 it runs on Amazon Linux 2 (glibc 2.26), from 3.12 on Amazon Linux 2023 (2.34). Lambda@Edge is x86_64 only.
    """
    glibc = 26 if minor < 12 else 34
    return (*(f"manylinux_2_{one}_x86_64" for one in (34, 28, 17) if one <= glibc), "manylinux2014_x86_64")


def wheels(versions: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Return a wheel of each distribution; pip downloads those that are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [f"{name}=={version}" for name, version in versions.items() if not _found(folder, name, version)]
    if missing:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--dest", str(folder), "--only-binary", ":all:", "--implementation", "cp"]
        command += ["--python-version", PYTHON]
        for platform in platforms(sys.version_info.minor):
            command += ["--platform", platform]
        subprocess.run([*command, *missing], check=True, timeout=300)  # noqa: S603  pip, with the installed versions
    return {name: _found(folder, name, version)[0] for name, version in versions.items()}


def _found(folder: Path, name: str, version: str) -> list[Path]:
    """Return a distribution's wheels, whose file names have its normalized name (PEP 427, PEP 503)."""
    wanted = re.sub(r"[-_.]+", "_", name).lower(), version
    split = {path: path.name.split("-") for path in sorted(folder.glob("*.whl"))}
    return [
        path for path, (found, *rest) in split.items() if (re.sub(r"[-_.]+", "_", found).lower(), rest[0]) == wanted
    ]
