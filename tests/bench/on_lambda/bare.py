"""What no edge on botocore and PyJWT can start without, and nothing else. Runs beside the zip's content."""

import botocore.session
import jwt

_SESSION = botocore.session.get_session()
CLIENTS = [_SESSION.create_client(service, region_name="us-east-1") for service in ("dynamodb", "secretsmanager")]


def handler(_event: object, _context: object) -> dict[str, object]:
    """Answer nothing."""
    return {"jwt": jwt.__version__, "clients": len(CLIENTS)}
