"""As much of a browser as the pages need without JavaScript: it sends what browsers send, and fills in forms."""

from __future__ import annotations

import gzip
import html
import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

_INPUT = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
VISIT = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: str

    def inputs(self) -> dict[str, str]:
        """Return the hidden inputs of its forms, the last of each name."""
        return {html.unescape(name): html.unescape(value) for name, value in _INPUT.findall(self.body)}

    @property
    def text(self) -> str:
        """What is read there: without tags, and with one space between words."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.body)).split())


@dataclass
class Browser:
    """A browser. address: what opens the console."""

    address: str
    pid: int
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The console's host and port."""
        return urlsplit(self.address).netloc

    def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Shown:
        """Make a request with exactly these headers, and the host unless they have one."""
        connection = http.client.HTTPConnection(self.host, timeout=40)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"host": self.host, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            body = answer.read()
            text = gzip.decompress(body) if found.get("content-encoding") == "gzip" else body
            return Shown(answer.status, found, text.decode())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Shown:
        """Go to a page."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("GET", path, {**VISIT, **self._cookie(), **named})

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Shown:
        """Send a form of the console's, and go where that leads."""
        body = urlencode(form).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {
            "origin": f"http://{self.host}",
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)),
        }
        answer = self.send("POST", path, {**sent, **self._cookie(), **named}, body)
        return self.get(answer.headers["location"]) if answer.status == 303 else answer

    def enter(self) -> Shown:
        """Open the console."""
        parts = urlsplit(self.address)
        answer = self.send("GET", f"{parts.path}?{parts.query}", VISIT)
        name, _, value = answer.headers.get("set-cookie", "").partition(";")[0].partition("=")
        self.cookies = {name: value} if name else {}
        return answer

    def _cookie(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
