"""The rows of the table "Not yet verified on AWS" in docs/deploy.md, in its order, and what checks each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.verify import by_aws, by_calls
from infra.verify.installed import Installed


@dataclass(frozen=True, slots=True)
class Row:
    """name: what is not verified. check: returns if it holds, None for what only a person can check. key: whether it takes a token.

    why: why not by a program; beside a check, what is left to a person.
    """

    name: str
    check: Callable[[Installed], None] | None = None
    key: bool = False
    why: str = ""

    @property
    def by(self) -> str:
        """The last cell of its row in the table."""
        if self.check is None:
            return f"by hand: {self.why}"
        return "yes" + (", with `KEY`" if self.key else "") + (f", {self.why}" if self.why else "")


def _through_dynamodb(one: Installed) -> None:
    by_calls.a_token(one)
    by_calls.call_is_admitted(one)
    by_aws.nothing_denied(one)


def _token_and_call(one: Installed) -> None:
    by_calls.a_token(one)
    by_calls.call_is_admitted(one)


ROWS = (
    Row("CloudFormation accepts all templates", by_aws.templates),
    Row("LeadingKeys conditions hold in transactions, too", by_calls.both_revoke, key=True),
    Row("KMS signs a digest under the condition on its algorithm", by_calls.a_token, key=True),
    Row("the tables' key works only through DynamoDB", _through_dynamodb, key=True),
    Row("Lambda says on whose behalf it takes a role", _token_and_call, key=True),
    Row("a web ACL refuses an address that asks too often", why="it would keep this address out for five minutes"),
    Row("a refused administrator is in the access log", by_aws.access_log),
    Row("API Gateway takes the role for its log on this account's behalf", by_aws.role_for_logs),
    Row("the end of a rule is told", why="a mail is read by a person"),
    Row("changes are told", why="a mail is read by a person"),
    Row("no role can disable a signing key", by_aws.no_role_disables_keys),
    Row("the account's administrator cannot sign", by_aws.caller_cannot_sign),
    Row("API Gateway's own refusals use our format", by_calls.gateway_refusals),
    Row("a same-account caller without the right is refused", why="it takes a second role"),
    Row("CloudFront runs the function for every call, uncached", by_calls.every_call_runs_the_function),
    Row("a provider's error is not cached", by_calls.error_is_not_cached, key=True),
    Row(
        "a revocation holds from the next call on, in every region",
        by_calls.revocation_holds,
        key=True,
        why="from here: call from a second region by hand",
    ),
    Row("a body goes on whole, although the function returns none of it", why="it takes a provider that reads 2 MB"),
    Row("streams are not buffered, 120 s to the first byte", why="it takes a provider that is slow"),
    Row("a GET that a provider is silent to is sent once", why="it takes a provider that is slow"),
    Row("a provider's redirect becomes the edge's", why="it takes a provider that redirects"),
    Row("Anthropic's SDK gets a token at the edge's host", by_calls.anthropic_asks_at_the_edge),
    Row("TLS 1.2 and up with a domain", by_calls.tls_is_new),
    Row("cold starts and durations", why="it takes days of use"),
    Row("CloudFront writes the access log, with the names of a call", why="it takes minutes to come"),
    Row("the log's second JSON text is read for the ranking", why="the same"),
    Row("events are sealed and exported", why="it takes minutes to come"),
    Row("the watcher runs, and its numbers are metrics", why="it takes minutes to come"),
    Row("the probe measures through CloudFront, and its role's signature is taken", why="it takes minutes to come"),
    Row("a signature and a provider key by anybody else are told", why="a mail is read by a person"),
    Row("the edge's role in another region", why="it takes calls from another region"),
    Row("`make destroy`", why="it ends the stage"),
)
