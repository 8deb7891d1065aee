"""Pages of proxies, as Debian's versions of them sent them, and what they say about where a request ended."""

from collections.abc import Mapping

import pytest

from mjbulk.mailjet.pages import said, wants_certificate

NGINX = (
    b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
    b"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
HAPROXY = (
    b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
)
SQUID = {"Server": "squid/5.7", "X-Squid-Error": "ERR_CONNECT_FAIL 111"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (503, {"Server": "nginx/1.22.1"}, NGINX, "limit"),
        (503, {"Server": "nginx"}, NGINX.replace(b"/1.22.1", b""), "limit"),
        (503, {}, HAPROXY, "unreached"),
        (503, SQUID, b"<html>", "unreached"),
        (503, {"X-Squid-Error": "ERR_DNS_FAIL 0"}, b"<html>", "unreached"),
        (503, {"X-Squid-Error": "ERR_READ_TIMEOUT 0"}, b"<html>", None),
        (504, {}, NGINX.replace(b"503 Service Temporarily Unavailable", b"504 Gateway Time-out"), None),
        (502, SQUID, HAPROXY, None),
        (503, {"Server": "envoy"}, b"no healthy upstream", None),
        (503, {}, b"", None),
        (503, {}, bytes(2000) + HAPROXY, None),
    ],
)
def test_what_a_page_says(status: int, headers: Mapping[str, str], body: bytes, expected: str | None) -> None:
    """Only these pages say something; the same words with another status, or far below, do not."""
    assert said(status, headers, body) == expected


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"<center>No required SSL certificate was sent</center>", True),
        (b"<center>The SSL certificate error</center>", True),
        (b"<center><h1>400 Bad Request</h1></center>", False),
    ],
)
def test_nginx_wants_a_client_certificate(line: bytes, wanted: bool) -> None:  # noqa: FBT001  # a parameter of a test
    """It answers 400, with a line of its own."""
    assert wants_certificate(NGINX.replace(b"<hr>", line + b"<hr>")) is wanted
