"""Why an exchange got no whole answer, said so that it helps: who was asked, what is wrong, and the next step.

No text of a server and no header is repeated, because exceptions of the HTTP library quote them.
"""

import errno
import os
import re
import socket
import ssl
from typing import Self

import aiohttp
from attrs import frozen
from yarl import URL

from mjbulk.mailjet.verdict import Failure

_EXPIRED, _NOT_YET_VALID, _OTHER_NAMES = 10, 9, (62, 63, 64)
_SELF_SIGNED, _UNKNOWN_CAS = 18, (2, 19, 20, 21)
"""OpenSSL's numbers of what can be wrong with a certificate."""
_NO_TLS = re.compile("WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL")
_OLD_TLS = re.compile("PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|WRONG_SSL_VERSION|NO_PROTOCOLS_AVAILABLE|legacy sigalg")
_OUR_CERTIFICATE = re.compile("ALERT_.*(CERTIFICATE|UNKNOWN_CA)")
"""OpenSSL's reasons why TLS fails."""

Why = tuple[Failure, str]


@frozen
class Ends:
    """The other end of a connection, and the proxy before it."""

    server: URL
    proxy: URL | None

    @classmethod
    def of(cls, api_url: str, proxy: str | None) -> Self:
        """Take the two from the settings."""
        return cls(URL(api_url), URL(proxy) if proxy else None)

    def explain(self, error: Exception) -> Why:
        """Say how an exchange has failed, and why."""
        cause = error.__cause__ or error.__context__
        match error:
            case aiohttp.ClientConnectorError():
                return _no_connection(error.os_error, self._name(error.host, error.port), error.host)
            case aiohttp.ConnectionTimeoutError():
                return Failure.NEVER_SENT, f"no connection to {self._nearest} was made in time"
            case aiohttp.ClientHttpProxyError():
                return self._refused_by_proxy(error.status)
            case aiohttp.ClientOSError() if isinstance(cause, ssl.SSLError) and _OUR_CERTIFICATE.search(_reason(cause)):
                return _no_tls(cause, self._nearest)
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
                return Failure.RESET, f"the connection was closed without an answer: {type(error).__name__}"
            case TimeoutError():
                return Failure.TIMED_OUT, f"the answer did not come in time: {type(error).__name__}"
            case aiohttp.ClientResponseError():
                return Failure.NO_HTTP, f"what listens at {self._nearest} does not speak HTTP: is the port right?"
        return Failure.LOST, f"the answer was lost: {type(error).__name__}"

    @property
    def _nearest(self) -> str:
        """The end that is asked first."""
        url = self.proxy or self.server
        return self._name(url.host, url.port)

    def _name(self, host: str | None, port: int | None) -> str:
        where = f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"
        is_proxy = self.proxy is not None and (host, port) == (self.proxy.host, self.proxy.port)
        return f"the proxy {where}" if is_proxy else where

    def _refused_by_proxy(self, status: int) -> Why:
        """Say why a proxy makes no connection."""
        server = self._name(self.server.host, self.server.port)
        if status in (401, 407):
            return Failure.UNFIT, self._wants_user(status)
        if status == 403:
            return Failure.UNFIT, f"{self._nearest} does not allow connections to {server} ({status})"
        if status < 500:
            return Failure.UNFIT, f"{self._nearest} makes no connections to {server} ({status}): is it a proxy?"
        return Failure.NEVER_SENT, f"{self._nearest} cannot connect to {server} ({status})"

    def _wants_user(self, status: int) -> str:
        """Say what is wrong where a proxy asks who is there."""
        if self.proxy is not None and self.proxy.user:
            return f"{self._nearest} does not take its user and password ({status}): see proxy="
        return f"{self._nearest} wants a user and a password ({status}): proxy=http://USER:PASSWORD@HOST:PORT"


def _no_connection(cause: OSError, name: str, host: str) -> Why:
    """Say why there is no connection to somebody."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failure.UNFIT, f"the certificate of {name} {_distrust(cause)}"
    if isinstance(cause, ssl.SSLError):
        return _no_tls(cause, name)
    if isinstance(cause, socket.gaierror):
        return Failure.ABSENT, f"the name {host} is not found ({cause.strerror}): is it right, and is there a network?"
    number = _errno_of(cause)
    if number == errno.ECONNREFUSED:
        return Failure.ABSENT, f"nothing listens at {name}: are host and port right?"
    if number in (None, errno.ECONNRESET, errno.EPIPE):
        hint = "it may have no TLS, or none of version 1.2 or newer, or want a client certificate (ssl=)"
        return Failure.ABSENT, f"{name} closes connections while TLS begins: {hint}"
    return Failure.ABSENT, f"there is no way to {name} ({os.strerror(number)}): is there a network?"


def _no_tls(cause: ssl.SSLError, name: str) -> Why:
    """Say why TLS with somebody fails."""
    reason = _reason(cause)
    if _NO_TLS.search(reason):
        return Failure.UNFIT, f"what listens at {name} speaks no TLS ({reason}): is the port right?"
    if _OLD_TLS.search(reason):
        return Failure.UNFIT, f"{name} has no TLS of version 1.2 or newer ({reason}), and older ones are not used"
    if _OUR_CERTIFICATE.search(reason):
        hint = "give one with ssl=, an SSLContext after load_cert_chain()"
        return Failure.UNFIT, f"{name} wants a client certificate that it knows ({reason}): {hint}"
    return Failure.UNFIT, f"TLS with {name} fails ({reason})"


def _reason(cause: ssl.SSLError) -> str:
    """Give OpenSSL's reason by its name, or in its words where Python does not know the name."""
    name: str | None = getattr(cause, "reason", None)  # one that OpenSSL did not raise has none
    return name or re.sub(r"^\[\w*\] | \(_ssl\.c:\d+\)$", "", cause.strerror or "") or "no reason"


def _distrust(cause: ssl.SSLCertVerificationError) -> str:
    """Say what is wrong with a certificate, and what helps."""
    proxy = "a proxy or a firewall may answer in its place"
    code = cause.verify_code
    if code == _EXPIRED:
        return "has expired: is the clock of this machine right?"
    if code == _NOT_YET_VALID:
        return "is not valid yet: is the clock of this machine right?"
    if code in _OTHER_NAMES:
        return f"is for another name: is the host right? Else {proxy}"
    if code == _SELF_SIGNED:
        return f"is self-signed: {proxy}. If it is right, trust it with ssl="
    if code in _UNKNOWN_CAS:
        return f"is from a CA that is not trusted: {proxy}. If it is right, trust its CA with ssl="
    return f"is not trusted ({cause.verify_message.rstrip('.')})"


def _errno_of(cause: OSError) -> int | None:
    """Give the number of an error of the system, which may stand in a text that joins several errors."""
    found = re.search(r"\[Errno (\d+)\]", str(cause))
    return cause.errno or (int(found[1]) if found else None)
