"""The same edge over botocore and threads, as it was before it had a client of its own. Runs beside both."""

import gc

gc.disable()

import edge  # noqa: E402  as in start.py
from chalicelib.aws import clients, config  # noqa: E402
from chalicelib.aws.botocore_client import BotocoreClient  # noqa: E402
from chalicelib.aws.config import EdgeConfig  # noqa: E402
from chalicelib.aws.edge_state import DynamoEdgeState  # noqa: E402
from chalicelib.aws.provider_keys import SecretsManagerProviderKeys  # noqa: E402
from chalicelib.aws.published_keys import PublishedSigningKeys  # noqa: E402
from chalicelib.edge.admission import Edge  # noqa: E402

gc.freeze()
gc.set_threshold(10_000)
gc.enable()


def _ports() -> edge.Ports:
    read = EdgeConfig.parse(config._BAKED.read_text(encoding="utf-8"))
    client = BotocoreClient(clients.make("dynamodb", read.region))
    secrets = BotocoreClient(clients.make("secretsmanager", read.secrets_region))
    made = Edge(
        state=DynamoEdgeState(client, read.control, read.counters),
        signing_keys=PublishedSigningKeys(client, read.control),
        provider_keys=SecretsManagerProviderKeys(secrets, read.secrets_prefix),
        issuer=read.issuer,
        url=read.edge_url,
    )
    return edge.Ports(made)


handler = edge.make_handler(_ports)
