"""A connection to one host: verified TLS, through the proxy that the environment names, if any."""

from __future__ import annotations

import base64
import os
import ssl
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from keybroker.errors import NotConfigured

_PROXY = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables that curl and the SDKs read; the first that is set counts."""


def connect_to(url: SplitResult, timeout: float) -> HTTPConnection:
    """Return a connection that is not open yet. timeout: seconds of each wait. Raises NotConfigured.

    HTTPS_PROXY and NO_PROXY apply to https:// alone: plain HTTP goes only to this machine, or to its cloud's metadata
    server. Certificates are verified against the system's CAs, or those in SSL_CERT_FILE.
    """
    host = str(url.hostname)
    if url.scheme == "http":
        return HTTPConnection(host, url.port, timeout=timeout)
    trust = ssl.create_default_context()
    proxy = _proxy_for(url)
    if proxy is None:
        return HTTPSConnection(host, url.port, timeout=timeout, context=trust)
    through = HTTPSConnection(str(proxy.hostname), proxy.port or 80, timeout=timeout, context=trust)
    # SECURITY: a tunnel, so the proxy sees the host's name and nothing else (test_a_proxy_sees_no_token).
    through.set_tunnel(host, url.port or 443, _authorization(proxy))
    return through


def _proxy_for(url: SplitResult) -> SplitResult | None:
    name = next((name for name in _PROXY if os.environ.get(name)), None)
    if name is None:
        return None
    from urllib.request import proxy_bypass  # noqa: PLC0415  slow to import, and seldom needed

    if proxy_bypass(url.netloc):
        return None
    text = os.environ[name]
    try:
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        usable = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:  # not quoted: it may hold a password
        raise NotConfigured(f"{name} cannot be used: it must be http://HOST:PORT")
    return proxy


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
