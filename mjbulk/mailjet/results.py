"""What an answer means for its request, and what the end of an attempt says about an outage."""

from collections.abc import Callable
from typing import Any

from attrs import evolve

from mjbulk.mailjet.attempts import AttemptResult, Patience, is_sign
from mjbulk.mailjet.outage import News
from mjbulk.mailjet.pages import said
from mjbulk.mailjet.replies import UnreadableReply, decode_error
from mjbulk.mailjet.response import Response
from mjbulk.mailjet.verdict import Ending, Phase, Verdict, retry_after, server_name

_PAGE = "with a page, which Mailjet's API does not send: a proxy or a firewall is in between, or api_url is wrong"
_FOREIGN = {
    401: f"401 {_PAGE}",
    403: f"403 {_PAGE}",
    407: "407: a proxy in between wants a user and a password (proxy=http://USER:PASSWORD@HOST:PORT)",
}


def result_of(response: Response, decode: Callable[[bytes], Any], *, believe_pages: bool) -> AttemptResult:
    """Judge a whole answer, and decode it if the request was applied."""
    asked, status = retry_after(response.headers), response.status
    ending = Ending(
        phase=Phase.ANSWERED,
        status=status,
        form=decode_error(response.body).form if status >= 400 else "nothing",
        pause=asked is not None,
        page=said(status, response.headers, response.body) if believe_pages else None,
    )
    result = AttemptResult(ending, f"status {status}", response.body, asked)
    if result.foreign:
        return evolve(result, why=f"{server_name(response.headers)} answered {_FOREIGN[status]}")
    if result.verdict is not Verdict.APPLIED:
        return result
    try:
        return AttemptResult(ending, decoded=decode(response.body))
    except UnreadableReply as unreadable:
        return _unreadable(ending, response, unreadable)


def _unreadable(ending: Ending, response: Response, why: UnreadableReply) -> AttemptResult:
    """Judge a good answer that cannot be decoded. What does not even begin as JSON does is by somebody else."""
    if response.body.strip()[:1] in (b"", b"{", b"["):
        return AttemptResult(evolve(ending, readable=False), str(why))
    name = server_name(response.headers)
    return AttemptResult(evolve(ending, readable=False, form="page"), f"{name} answered {response.status} {_PAGE}")


def heard(result: AttemptResult) -> News:
    """Say what the end of a GET says about an outage. Where somebody refuses all requests, a submit will say so."""
    unheard = result.is_lost or result.verdict is Verdict.NOT_APPLIED
    return News.UNHEARD if unheard else News.HEARD


def news(result: AttemptResult, patience: Patience, *, harmless: bool) -> News:
    """Say what the end of a submit says about an outage."""
    if is_sign(result, patience, harmless=harmless):
        return News.MISSED if harmless else News.LOST
    return News.ANSWERED if result.verdict in (Verdict.APPLIED, Verdict.REFUSED) else News.BACK
