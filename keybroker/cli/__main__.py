"""Entry point of `keybroker`: a missing extra or a Ctrl-C during the imports is also reported in one line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command and return its exit code."""
    try:
        from keybroker.cli import program  # noqa: PLC0415  see the module's docstring
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if error.name != "click":
            raise
        sys.stderr.write(
            "error: the command line needs click and botocore: pip install 'click>=8.5,<9' 'botocore>=1.44,<2'\n"
        )
        return 1
    return program.run(sys.argv[1:], owns_process=True)


if __name__ == "__main__":
    sys.exit(main())
