"""What pages of proxies say about where a request ended (FACTS 10.1, 10.2, 10.3).

A proxy makes some of its answers only before it hands a request on: nothing was applied then. Their own words tell
which these are. The person that configures a proxy can also have it say so of requests that reached a server. So these
pages are believed only if the user says so: `mjbulk.Assumptions.proxy_pages_are_true`.
"""

import re
from collections.abc import Mapping
from typing import Literal

Said = Literal["limit", "unreached"]
"""The request was one too many for a limiter, or no server could be reached."""
_NGINX_LIMIT = re.compile(rb"<h1>503 Service Temporarily Unavailable</h1></center>\s*(<hr>)?<center>nginx\b")
_HAPROXY_UNREACHED = b"<h1>503 Service Unavailable</h1>\nNo server is available to handle this request."
_SQUID_UNREACHED = ("ERR_CONNECT_FAIL", "ERR_DNS_FAIL")


def said(status: int, headers: Mapping[str, str], body: bytes) -> Said | None:
    """Tell what an answer says, if it is one of these pages."""
    if status != 503:
        return None
    if _NGINX_LIMIT.search(body[:1024]):
        return "limit"
    by_squid = headers.get("X-Squid-Error", "").startswith(_SQUID_UNREACHED)
    return "unreached" if by_squid or _HAPROXY_UNREACHED in body[:1024] else None


def wants_certificate(body: bytes) -> bool:
    """Tell whether a page is that of nginx for a client certificate that is missing, or that it does not trust."""
    return b"No required SSL certificate was sent" in body[:1024] or b"The SSL certificate error" in body[:1024]
