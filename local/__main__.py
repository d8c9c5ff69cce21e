"""Entry point of `python -m local`: a Ctrl-C, also during the imports, is no fault to show."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        from local import program  # noqa: PLC0415  see the module's docstring

        return program.main(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
