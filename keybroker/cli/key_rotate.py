"""`keybroker keys rotate` and `keys rollback`: replace a key's value, at its provider or by hand, and go back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import click

from keybroker.cli import key_by_hand, key_leak, output, rotated, rotation_wait
from keybroker.cli.admin_client import AdminClient, segment
from keybroker.cli.command_error import DONE, LOCAL, CommandError
from keybroker.cli.rotated import BY_HAND
from keybroker.cli.rotation_wait import Rotating
from keybroker.cli.settings import Settings, common_options, dry_run_option, pass_settings
from keybroker.cli.times import LENGTH


@click.command("rotate", short_help="Replace a key's value by a new one.")
@click.argument("name")
@click.option("--overlap", type=LENGTH, metavar="TIME", help="How long the key before goes on working: 0s to 7d. [1h]")
@click.option("--leaked", is_flag=True, help="Others know it: no overlap, no way back, and a report of who used it.")
@click.option("--abort", is_flag=True, help="End a rotation whose new key is not in force yet.")
@click.option(
    "--file", metavar="FILE", help="By hand: file with the new value (mode 600); - for standard input. [prompt]"
)
@click.option("--no-wait", is_flag=True, help="Try once instead of until the new key is in force.")
@dry_run_option()
@common_options
@pass_settings
def rotate(settings: Settings, /, name: str, **options: Any) -> int:  # noqa: ANN401  as declared above
    """Replace a key's value by a new one; calls go on meanwhile.

    Where the broker may manage keys at the provider (keybroker keys manage), it makes a new key, proves it, puts it in force,
    and deletes the one before after the overlap. What is cut off goes on when it is sent again. Otherwise make the new key
    yourself: this command says where, and asks for its value.
    """
    _check(options)
    client = AdminClient(settings.admin_api_url)
    if options["abort"]:
        return _abort(client, settings, name)
    before = rotation_wait.find(client, name)
    if before["rotates"] == "by_hand":
        return key_by_hand.replace(client, settings, before, options)
    if options["file"] is not None:
        hint = f"to set a value of your own: keybroker keys set {name} --file {options['file']}"
        raise CommandError(LOCAL, f"{name} is replaced by its provider's API, which makes the value", hint)
    return _by_api(client, settings, before, options)


def _check(options: Mapping[str, Any]) -> None:
    if options["leaked"] and options["overlap"]:
        raise CommandError(LOCAL, "--leaked leaves no overlap: leave --overlap out")
    if options["abort"] and (options["leaked"] or options["dry_run"] or options["overlap"] is not None):
        raise CommandError(LOCAL, "--abort takes no other option")


def _by_api(client: AdminClient, settings: Settings, before: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    name, leaked = before["name"], options["leaked"]
    body: dict[str, Any] = {"leaked": True} if leaked else {}
    if options["overlap"] is not None:
        body["overlap"] = options["overlap"]
    if options["dry_run"]:
        return _rehearse(client, settings, before, body)
    rotated.say_what_goes_on(before)
    retired = rotated.retired(client, name)
    answer = _answer(Rotating(client, before, body), settings, wait=not options["no_wait"])
    deleted = [one for event, one in rotated.retired(client, name).items() if event not in retired]
    used = key_leak.used(client, before) if leaked else None
    if settings.json:
        output.as_json({**answer, "deleted": deleted, **({"used": used.rows} if used else {})})
    else:
        rotated.say(before, answer, [one for one in deleted if not leaked or one != BY_HAND])
        if used:
            key_leak.show(used, before, deleted)
    return DONE


def _answer(rotating: Rotating, settings: Settings, *, wait: bool) -> dict[str, Any]:
    """Return what the broker answers once the new key is in force; raises CommandError, after the report of a leak."""
    name, leaked = rotating.before["name"], rotating.body.get("leaked")
    try:
        return rotating.wait() if wait else rotating.once()
    except KeyboardInterrupt:
        output.message(f"it goes on where it stopped when you send it again: keybroker keys rotate {name}")
        raise
    except CommandError:
        if leaked and not settings.json:
            with contextlib.suppress(CommandError):  # the first one says more
                key_leak.show(key_leak.used(rotating.client, rotating.before), rotating.before, ())
        raise


def _rehearse(client: AdminClient, settings: Settings, before: Mapping[str, Any], body: Mapping[str, Any]) -> int:
    name = before["name"]
    answer = client.call("POST", f"/admin/keys/{segment(name)}/rotation", {"dry_run": True}, body).body
    if settings.json:
        output.as_json(answer)
        return DONE
    known = output.number(answer["known"], "key")
    output.message(
        f"dry run: the provider lists {known} made for {name}; {rotated.would(before, answer)}; nothing was changed"
    )
    return DONE


def _abort(client: AdminClient, settings: Settings, name: str) -> int:
    answer = client.call("DELETE", f"/admin/keys/{segment(name)}/rotation").body
    if settings.json:
        output.as_json(answer)
    else:
        output.message(f"ended: what was made at the provider is deleted, and {name} is as it was")
    return DONE


@click.command("rollback", short_help="Go back to the value before.")
@click.argument("name")
@dry_run_option()
@common_options
@pass_settings
def rollback(settings: Settings, name: str, dry_run: bool) -> None:  # noqa: FBT001  a flag
    """Put the version before in force again, from the next call on. Sent twice, it undoes itself.

    There is none to go back to after a leak, nor once the key before was deleted at its provider by the broker. One that was
    set by hand is kept here, and works as long as nobody deletes it at the provider.
    """
    path = f"/admin/keys/{segment(name)}/rollback"
    answer = AdminClient(settings.admin_api_url).call("POST", path, {"dry_run": dry_run}).body
    if settings.json:
        output.as_json(answer)
    elif dry_run:
        output.message(f"dry run: {name} would go back to version {answer['version']}; nothing was changed")
    else:
        output.message(f"in force: {name} version {answer['version']} again, from the next call on")
        rotated.say_end(answer)
