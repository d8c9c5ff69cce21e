"""Where `keybroker` begins: a missing extra or a Ctrl-C during the imports is said in a line, too."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command and return its exit code."""
    try:
        from keybroker.cli import program  # noqa: PLC0415  see above
    except KeyboardInterrupt:
        return 130
    except ImportError as fault:
        if fault.name != "click":
            raise
        sys.stderr.write("error: the command line needs the extra: pip install 'keybroker[cli]'\n")
        return 1
    return program.run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
