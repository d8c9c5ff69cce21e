"""A connection to one host: TLS that is verified, and a company's proxy where the environment names one."""

from __future__ import annotations

import base64
import os
import ssl
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from keybroker.errors import NotConfigured

_PROXY = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables that curl and the SDKs read, the first that is set counts."""


def connection_to(where: SplitResult, timeout: float) -> HTTPConnection:
    """Return a connection that is not made yet. timeout: seconds of each wait. Raises NotConfigured.

    HTTPS_PROXY and NO_PROXY are obeyed for https:// alone: what is plain HTTP is this machine, or this cloud. Certificates
    are verified against the system's, or those of SSL_CERT_FILE.
    """
    host = str(where.hostname)
    if where.scheme == "http":
        return HTTPConnection(host, where.port, timeout=timeout)
    trust = ssl.create_default_context()
    proxy = _proxy_for(where)
    if proxy is None:
        return HTTPSConnection(host, where.port, timeout=timeout, context=trust)
    through = HTTPSConnection(str(proxy.hostname), proxy.port or 80, timeout=timeout, context=trust)
    # SECURITY: a tunnel, so the proxy sees the host's name and nothing else (test_a_proxy_sees_no_token).
    through.set_tunnel(host, where.port or 443, _authorization(proxy))
    return through


def _proxy_for(where: SplitResult) -> SplitResult | None:
    name = next((name for name in _PROXY if os.environ.get(name)), None)
    if name is None:
        return None
    from urllib.request import proxy_bypass  # noqa: PLC0415  it takes long to import, and few have a proxy

    if proxy_bypass(where.netloc):
        return None
    text = os.environ[name]
    try:
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        usable = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:  # it is not quoted, for it may hold a password
        raise NotConfigured(f"{name} cannot be used: it must be http://HOST:PORT")
    return proxy


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
