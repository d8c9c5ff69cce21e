"""Two processes that call each other's objects over pipes. Both run this file; the one with the zip has nothing else of ours.

Values are pickled, so that each end makes them of its own classes. What cannot be copied is called where it is: local
functions, bound methods, and the state and keys that a test has.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import threading
import types
from collections.abc import Mapping
from typing import IO, Any

_OF_TESTS = ("local.", "tests.")
_SAID = ("reasons", "error", "statuses", "text", "retryable")
_HERE = ("tests.edge_zip.wire", "__main__")


class Peer:
    """One end. call() blocks until the other end has answered, and meanwhile answers what that asks."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer, self._turn = reader, writer, threading.RLock()
        self.objects: list[Any] = []
        self.calls = 0

    def call(self, target: int | None, name: str, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Call a method of an object there; without a target, the function `module:name`. Raises what that raises."""
        with self._turn:
            self.calls += 1
            self._send("call", target, name, given, dict(named))
            while True:
                kind, *content = self._receive()
                if kind == "return":
                    return content[0]
                if kind == "raise":
                    raise content[0]
                self._answer(*content)

    def serve(self) -> None:
        """Answer until the other end closes."""
        while True:
            try:
                _, *content = self._receive()
            except EOFError:
                return
            except Exception as error:  # noqa: BLE001  a value that cannot be made here
                self._send("raise", TypeError(repr(error)))
            else:
                self._answer(*content)

    def _answer(self, target: int | None, name: str, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        try:
            if target is None:
                module, _, name = name.partition(":")
                found = getattr(importlib.import_module(module), name)
            else:
                found = getattr(self.objects[target], name) if name else self.objects[target]
            value = found(*given, **named)
            self._send("return", value)
        except BaseException as error:  # noqa: BLE001  it is raised at the other end
            self._send("raise", error)

    def _send(self, *message: object) -> None:
        content = io.BytesIO()
        _Pickler(content, self).dump(message)
        self._writer.write(len(content.getvalue()).to_bytes(8, "big") + content.getvalue())
        self._writer.flush()

    def _receive(self) -> Any:  # noqa: ANN401  a message
        size = self._reader.read(8)
        if not size:
            raise EOFError
        return _Unpickler(io.BytesIO(self._reader.read(int.from_bytes(size, "big"))), self).load()


class Remote:
    """An object of the other end."""

    def __init__(self, peer: Peer, number: int) -> None:
        self._peer, self.number = peer, number

    def __call__(self, *given: object, **named: object) -> Any:  # noqa: ANN401  whatever it returns
        """Call it."""
        return self._peer.call(self.number, "", given, named)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  one of its methods
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: self._peer.call(self.number, name, given, named)


class _Pickler(pickle.Pickler):
    def __init__(self, writer: IO[bytes], peer: Peer) -> None:
        super().__init__(writer, protocol=pickle.HIGHEST_PROTOCOL)
        self._peer = peer

    def persistent_id(self, value: Any) -> Any:  # noqa: ANN401  as pickle has it
        """Name what is not copied; None for what is."""
        kind = type(value)
        if kind is Remote:
            return "yours", value.number, ()
        if kind.__name__ == "Edge" and kind.__module__ == "chalicelib.edge.admission":
            # It remembers signatures and refusals from call to call, so the other end keeps one for each of ours.
            fields = (value.state, value.signing_keys, value.provider_keys, value.issuer, value.url)
            return "edge", self._number(value), fields
        of_object = not isinstance(
            getattr(value, "__self__", sys), types.ModuleType | type
        )  # `list.append` is one, too
        is_function = isinstance(value, types.FunctionType) and _is_no_import(value)
        if (
            is_function
            or (isinstance(value, types.MethodType | types.BuiltinMethodType) and of_object)
            or (kind.__module__.startswith(_OF_TESTS) and not issubclass(kind, BaseException | str))
        ):
            return "mine", self._number(value), ()
        return None

    def _number(self, value: object) -> int:
        known = self._peer.objects
        found = next((index for index, one in enumerate(known) if one is value), len(known))
        if found == len(known):
            known.append(value)
        return found

    def reducer_override(self, value: Any) -> Any:  # noqa: ANN401  as pickle has it
        """Pickle what pickle cannot: errors by their fields, views of dicts, public keys."""
        if isinstance(value, BaseException):
            # A test's own refusal becomes its nearest class there, with what the test's class says.
            kind = next(one for one in type(value).__mro__ if not one.__module__.startswith(_OF_TESTS))
            said = {} if kind is type(value) else {name: getattr(value, name) for name in _SAID if hasattr(value, name)}
            return make_error, (kind, value.args, said | value.__dict__)
        if isinstance(value, types.MappingProxyType):
            return dict, (dict(value),)
        if hasattr(value, "public_bytes"):
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

            return make_public_key, (value.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),)
        return NotImplemented


def _is_no_import(function: types.FunctionType) -> bool:
    module = function.__module__
    return "<" in function.__qualname__ or (module.startswith(_OF_TESTS) and module not in _HERE)


class _Unpickler(pickle.Unpickler):
    def __init__(self, reader: IO[bytes], peer: Peer) -> None:
        super().__init__(reader)
        self._peer = peer

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  as pickle has it
        """Find what both ends have in this file."""
        return globals()[name] if module in _HERE else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401  as pickle has it
        """Return what was named."""
        kind, number, fields = pid
        if kind == "yours":
            return self._peer.objects[number]
        return Remote(self._peer, number) if kind == "mine" else _edge(self._peer, number, fields)


_EDGES: dict[tuple[int, int], Any] = {}


def _edge(peer: Peer, number: int, fields: tuple[Any, ...]) -> Any:  # noqa: ANN401  an Edge
    if (id(peer), number) not in _EDGES:
        made = importlib.import_module("chalicelib.edge.admission").Edge(*fields)
        _EDGES[id(peer), number] = made
    return _EDGES[id(peer), number]


def make_error(kind: type[BaseException], given: tuple[Any, ...], fields: Mapping[str, Any]) -> BaseException:
    """Return an error with these fields, whatever its class is made from."""
    made = kind.__new__(kind, *given)
    made.args = given
    made.__dict__.update(fields)
    return made


def make_public_key(content: bytes) -> Any:  # noqa: ANN401  a public key
    """Return the public key."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    return load_der_public_key(content)


def files() -> list[str]:
    """Return the files of all modules that are loaded."""
    return sorted({getattr(one, "__file__", None) or "" for one in list(sys.modules.values())} - {""})


def main() -> None:
    """Serve with the unpacked zip in sys.argv[1] on the path, beside the standard library alone."""
    writer, sys.stdout = sys.stdout.buffer, sys.stderr
    sys.path.insert(0, sys.argv[1])
    sys.modules["wire"] = sys.modules["__main__"]
    importlib.import_module("start")  # as Lambda does
    Peer(sys.stdin.buffer, writer).serve()


if __name__ == "__main__":
    main()
