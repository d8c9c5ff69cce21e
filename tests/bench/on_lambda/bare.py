"""What no edge on PyJWT can start without, and nothing else. Runs beside the zip's content."""

import jwt


def handler(_event: object, _context: object) -> dict[str, object]:
    """Answer nothing."""
    return {"jwt": jwt.__version__}
