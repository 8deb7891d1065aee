"""The page of imports, in Debian's Chromium, under a real server."""

import csv as csv_module
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pages import NAMES, PATIENCE, Backend, Visitor, browsing, contrasts, csv, people, recode, serving, visiting

import mjbulk.fastapi

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = [pytest.mark.extra, pytest.mark.real_time]

UPLOADS = re.compile(r"/one/(\?.*)?$")
EVIL = "<img src=x onerror=alert(1)>"
TENANTS = (f"tenant-{number}" for number in count())
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def backend(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with serving(tmp_path_factory.mktemp("page")) as backend:
        yield backend


@pytest.fixture
def visit(browser: "Browser", backend: Backend) -> Iterator[Visit]:
    """Open the page as a tenant that has no runs yet."""
    with ExitStack() as stack:

        def visit(site: str = "one", *, tenant: str | None = None, **how: Any) -> Visitor:
            visitor = stack.enter_context(visiting(browser, backend, tenant or next(TENANTS), **how))
            visitor.open(site)
            return visitor

        yield visit


def test_a_file_is_checked_and_imported(visit: Visit, backend: Backend) -> None:
    """The check says what would be sent; the import shows its run, which stands in the list of runs then."""
    me = visit()
    me.sees("#no-runs")
    me.sees("#list-only", "list 1")
    me.check(b"email\nann@example.org\nann@example.org\nbob@example.org\nnobody\n", "first.csv")
    me.sees("#plan", "4 rows in the file. 2 would be sent, 1 rejected.")
    me.sees("#plan", "1 row would be replaced by a later row of the same person.")
    me.sees("#plan tbody tr", "nobody")
    assert me.focus() == "plan-title"
    me.page.click("text=Import 2 rows")
    me.sees("#run-state", "Done, with rejected rows")
    assert me.page.title() == "first.csv – Imports"
    me.sees("#run-counts", "Accepted2")
    assert {"ann@example.org", "bob@example.org"} <= set(backend.emulator.contacts)
    me.page.click("text=All imports")
    me.sees("#runs li", "4 rows, 2 accepted, 1 rejected")
    assert me.page.title() == "Imports"
    assert me.find("#file").input_value() == ""


def test_what_an_application_allows(visit: Visit, backend: Backend) -> None:
    """One list is told, several are to choose from, and any is typed; actions are said in plain words."""
    me = visit("several")
    assert me.find("#list-choice option").all_inner_texts() == ["List 1", "List 2"]
    assert me.find("#actions label").all_inner_texts() == ["Add, and respect who has left", "Unsubscribe"]
    me.page.select_option("#list-choice", "2")
    assert me.find("#actions label").all_inner_texts() == ["Add and subscribe everyone", "Unsubscribe"]
    me.sees("#actions", "People who have left it are subscribed again, though they chose to leave.")
    me.check(b"email\nann@example.org\n")
    me.sees("#plan .notice", "1 person would be subscribed")
    me.check(b"email,hat_size\nhat@example.org,7\n")
    me.sees("#plan .notice", "These columns become new properties at Mailjet:")
    me.page.click("#import")
    me.sees("#run-state", "Done")
    assert backend.emulator.contacts["hat@example.org"].properties["hat_size"]
    me = visit("any")
    me.check(b"email\nann@example.org\n")
    me.sees("#refused", "Say which list")
    assert me.find("#list-text").get_attribute("aria-invalid") == "true"
    me.page.fill("#list-text", "1")
    me.misses("#refused")
    me.page.click("text=Remove from the list")
    me.run(b"email\nann@example.org\n")
    me.sees("#run-terms", "List 1 · Remove from the list")


def test_a_bad_column(visit: Visit) -> None:
    """It is named, the file cannot be imported with it, and can be without."""
    me = visit()
    me.refusals = True
    me.check(b"email,<b>shoe</b>\nann@example.org,42\n")
    me.sees("#plan .notice.bad", "<b>shoe</b>")
    me.misses("#import")
    me.page.click("#more summary")
    me.page.fill("#columns", "email\n<b>shoe</b> = hat")
    me.misses("#plan")
    me.page.click("#check")
    me.sees("#plan .notice.bad", "hat")
    me.page.fill("#columns", "mail=email")
    me.page.click("#check")
    me.sees("#refused", "mail")
    assert me.focus() == "refused"
    me.page.fill("#columns", "email")
    me.page.click("#check")
    me.page.click("text=Import 1 row")
    me.sees("#run-state", "Done")


def test_how_a_file_is_read(visit: Visit, backend: Backend) -> None:
    """What the server says of its parameters is said in the words of the form, and the field is shown."""
    me = visit("several")
    me.refusals = True
    body = b"email;born_on\nborn@example.org;02.01.2020\n"
    me.check(body)
    me.sees("#refused", "choose a semicolon as “Separator in a CSV file”, under “More”")
    me.sees("#delimiter")
    assert me.find("#delimiter").get_attribute("aria-invalid") == "true"
    me.page.select_option("#delimiter", ";")
    me.page.click("#check")
    told = "born_on=datetime in “Types of new properties” with %d.%m.%Y in “Form of dates” says otherwise"
    me.sees("#plan", told)
    me.page.fill("#types", "born_on")
    me.page.click("#check")
    me.sees("#refused", "“born_on” is not a property, an equals sign and a type")
    me.page.fill("#types", "born_on = datetime")
    me.page.fill("#date_format", "%d.%m.%Y")
    me.page.select_option("#nulls", "unassign")
    me.page.click("#check")
    me.page.click("text=Import 1 row")
    me.sees("#run-state", "Done")
    assert backend.emulator.contacts["born@example.org"].properties["born_on"] == "2020-01-02T00:00:00Z"
    me = visit("one")
    me.page.click("#more summary")
    me.misses("#types")


BAD_TERMS = [
    ("timezone", "Europe/Atlantis", "IANA name of a zone"),
    ("date_format", "x", "“Form of dates” is a form of strptime"),
    ("encoding", "klingon", "klingon"),
    ("columns", "a=b=c", "“a=b=c” is not a column"),
    ("columns", "a,b", "“a,b” is not a column"),
]


def test_what_is_refused(visit: Visit) -> None:
    """It is said at the form, and the field is marked, also where it is folded away; nothing of a file that is too
    large is sent.
    """
    me = visit()
    me.refusals = True
    me.page.click("#check")
    me.sees("#refused", "Choose a file first.")
    me.check(bytes(2_000_001))
    me.sees("#refused", "At most 2,000,000 are taken.")
    assert not me.posts("/plan")
    me.check(b"PK\x03\x04 is no spreadsheet", "people.xlsx")
    me.sees("#refused", "nothing was sent")
    assert me.find("#file").get_attribute("aria-invalid") == "true"
    me.page.set_input_files("#file", csv(b"email\nann@example.org\n"))
    for field, value, said in BAD_TERMS:
        before = me.find(f"#{field}").input_value()
        me.page.evaluate("document.getElementById('more').open = true")
        me.page.fill(f"#{field}", value)
        me.page.click("#more summary")
        me.page.click("#check")
        me.sees("#refused", said)
        assert me.focus() == "refused"
        if field != "encoding":
            assert me.find(f"#{field}").get_attribute("aria-invalid") == "true"
            me.sees(f"#{field}")
        me.page.evaluate("document.getElementById('more').open = true")
        me.page.fill(f"#{field}", before)


def test_an_upload_is_shown_and_can_be_cancelled(visit: Visit) -> None:
    """How much of a file has left is a progress bar; "Cancel" ends it, and the form is as it was."""
    me = visit()
    me.refusals = True
    shaper = me.page.context.new_cdp_session(me.page)
    shaper.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    shaper.send("Network.emulateNetworkConditions", slow)
    me.check(b"email\n" + people(80_000))
    me.sees("#sending-text", "Uploading people.csv")
    me.expect(me.find("#sending progress")).not_to_have_js_property("value", 0)
    assert me.focus() == "sending-text"
    me.page.keyboard.press("Tab")
    assert me.focus() == "cancel"
    me.page.keyboard.press("Enter")
    me.misses("#sending")
    me.misses("#refused")
    assert me.focus() == "check"
    shaper.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    me.check(b"email\nann@example.org\n")
    me.sees("#plan")


def test_progress(visit: Visit) -> None:
    """Counts rise without a reload, in the run and in the list of runs, and a screen reader hears of the end."""
    me = visit()
    rows = people(50, "quick") + people(50, "in3s-")
    run_id = me.run(b"email\n" + rows)
    me.sees("#run-state", "Under way")
    me.sees("#run-counts", "Accepted50")
    me.sees("#run-progress")
    assert me.find("#run-progress").evaluate("bar => [bar.value, bar.max]") == [50, 100]
    me.sees("#run-counts", "Accepted100")
    me.sees("#run-state", "Done")
    me.expect(me.find("#said")).to_have_text("Done. 100 of 100 rows accepted, 0 rejected.", timeout=PATIENCE)
    me.misses("#run-progress")
    assert sum(f"{run_id}/events" in one.url for one in me.sent) == 1
    me.page.click("text=All imports")
    me.sees("#runs li", "100 rows, 100 accepted, 0 rejected")


def test_rejected_rows(visit: Visit, backend: Backend, tmp_path: Path) -> None:
    """They are shown by reason, page by page, with their cells, and are there as CSV."""
    backend.emulator.reject("p1@example.org", "Blocked by policy")
    me = visit()
    me.page.route("**/rejections?*limit=50*", lambda route: route.continue_(url=shorter(route, 50, 4)))
    run_id = me.run(b"email\n" + people(3) + b"".join(b"wrong%d\n" % at for at in range(9)))
    me.sees("#run-state", "Done, with rejected rows")
    me.sees("#code", "All (10 rows)")
    lines = me.find("#rejected-rows tbody tr")
    me.expect(lines).to_have_count(4)
    assert lines.first.locator("td").all_inner_texts()[:3] == ["4", "wrong0", "email"]
    lines.first.locator("summary").click()
    me.expect(lines.first.locator("dl")).to_have_text("emailwrong0")
    me.page.click("#rejected-after")
    me.sees("#rejected-rows", "wrong4")
    me.page.click("#rejected-after")
    me.sees("#rejected-rows", "wrong8")
    me.expect(me.find("#rejected-after")).to_be_disabled()
    me.page.click("#rejected-before")
    me.sees("#rejected-rows", "wrong4")
    recode(backend.folder, run_id, "Blocked by policy", "mailjet.policy")
    me.page.reload()
    me.sees("#rejected-rows", "wrong0")
    me.page.select_option("#code", "mailjet.policy")
    me.expect(lines).to_have_count(1)
    me.sees("#rejected-rows", "Blocked by policy")
    me.sees("#rejected-rows", "p1@example.org")
    with me.page.expect_download() as waits:
        me.page.click("#download")
    waits.value.save_as(tmp_path / "rejected.csv")
    with (tmp_path / "rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv_module.DictReader(file))) == 10


def shorter(route: "Route", limit: int, wanted: int) -> str:
    return route.request.url.replace(f"limit={limit}", f"limit={wanted}")


def test_rows_that_are_rejected_meanwhile(visit: Visit) -> None:
    """They appear while the run goes on, and a row that is being read stays open."""
    me = visit()
    me.run(b"email\nwrong0\n" + people(49, "first") + people(50, "in2s-") + b"wrong1\n")
    me.sees("#rejected-rows", "wrong0")
    me.page.click("#rejected-rows summary >> nth=0")
    me.sees("#run-state", "Done")
    me.sees("#rejected-rows", "wrong1")
    assert me.find("#rejected-rows details[open]").count() == 1


def test_pages_of_runs(visit: Visit) -> None:
    """The newest runs come first, and older ones are a page away."""
    me = visit()
    me.page.route("**/one/?limit=20*", lambda route: route.continue_(url=shorter(route, 20, 2)))
    for number in range(3):
        me.post(b"email\nann@example.org\n", f"file{number}.csv")
    me.page.reload()
    me.expect(me.find("#runs a")).to_have_text(["file2.csv", "file1.csv"], timeout=PATIENCE)
    me.page.click("#runs-older")
    me.expect(me.find("#runs a")).to_have_text(["file0.csv"], timeout=PATIENCE)
    assert me.focus() == "runs-title"
    me.expect(me.find("#runs-older")).to_be_disabled()
    me.page.click("#runs-newer")
    me.expect(me.find("#runs a")).to_have_text(["file2.csv", "file1.csv"], timeout=PATIENCE)
    me.expect(me.find("#runs-newer")).to_be_disabled()


def test_keyboard_alone(visit: Visit) -> None:
    """A file is chosen, checked and imported; its run is stopped, resumed, stopped and deleted, without a mouse."""
    me = visit()

    press = me.page.keyboard.press
    file = csv(b"email\n" + people(50, "quick") + people(50, "in60s-"), "keys.csv")
    me.page.on("filechooser", lambda chooser: chooser.set_files(file))
    press("Tab")
    assert me.focus() == "file"
    press("Space")
    me.expect(me.find("#file")).not_to_have_value("")
    tab_to(me, "check")
    press("Enter")
    me.sees("#plan")
    tab_to(me, "import")
    press("Space")
    me.sees("#run-state", "Under way")
    me.sees("#run-counts", "Accepted50")
    assert me.focus() == "run-title"
    tab_to(me, "stop")
    press("Enter")
    me.sees("#run-state", "Stopped: it can go on")
    assert me.focus() == "run-title"
    tab_to(me, "resume")
    press("Enter")
    me.sees("#run-state", "Under way")
    tab_to(me, "stop")
    press("Enter")
    me.sees("#run-state", "Stopped: it can go on")
    tab_to(me, "delete")
    press("Enter")
    me.sees("#question", "keys.csv")
    assert me.focus() == "question-no"
    press("Escape")
    me.misses("#question")
    assert me.focus() == "delete"
    press("Enter")
    press("Tab")
    assert me.focus() == "question-yes"
    press("Enter")
    me.sees("#no-runs")
    assert me.focus() == "H1"


def tab_to(me: Visitor, wanted: str) -> None:
    for _ in range(20):
        me.page.keyboard.press("Tab")
        if me.focus() == wanted:
            outline = me.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
            return
    pytest.fail(f"the Tab key does not come to {wanted}")


def test_nothing_asks_for_a_run_that_is_being_deleted(visit: Visit) -> None:
    """A look that is under way ends before a run is deleted; where the run cannot be deleted, the page looks on."""
    me = visit()
    held: list[Route] = []
    refused: list[str] = []

    def slow(route: "Route") -> None:
        if route.request.method == "GET":
            held.append(route)
        elif refused:
            route.fulfill(status=409, json={"detail": {"code": "run.under_way", "message": refused[0]}})
        else:
            route.fulfill(response=route.fetch())
            answer(held)

    def looks() -> bool:
        me.page.evaluate("window.dispatchEvent(new Event('online'))")  # then it waits no longer with its next look
        return bool(held)

    def look_and_delete() -> None:
        until(me, looks)
        me.page.click("#delete")
        me.page.click("#question-yes")

    run_id = me.run(b"email\nann@example.org\n")
    me.sees("#run-state", "Done")
    me.page.route(f"**/one/{run_id}", slow)
    look_and_delete()
    me.sees("#no-runs")
    assert me.errors == []
    me.refusals = True
    run_id = me.run(b"email\nann@example.org\n")
    me.sees("#run-state", "Done")
    me.page.route(f"**/one/{run_id}", slow)
    held.clear()
    refused.append("It is under way elsewhere")
    look_and_delete()
    me.sees("#run-problem", "It is under way elsewhere")
    until(me, lambda: len(held) == 2)
    answer(held)
    me.sees("#run-state", "Done")


def answer(held: "list[Route]") -> None:
    """Let the server answer requests; those that the page has ended need no answer."""
    for route in held:
        route.continue_()


def until(me: Visitor, good: Callable[[], bool]) -> None:
    for _ in range(1000):
        if good():
            return
        me.page.wait_for_timeout(10)
    pytest.fail("it does not come to that")


def test_a_lost_answer_is_no_second_import(visit: Visit, backend: Backend) -> None:
    """The file is uploaded under the same key once more; another file has another key."""
    me = visit()
    me.refusals = True
    lost: list[str] = []

    def lose(route: "Route") -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().text())
            route.abort()
        else:
            route.continue_()

    me.check(b"email\nlost@example.org\n")
    me.sees("#plan")
    me.page.route(UPLOADS, lose)
    me.page.click("#import")
    me.sees("#connection", "The server does not answer.")
    me.sees("#run-state", "Done")
    me.misses("#connection")
    first, second = me.posts("/one/")
    key = first.headers["idempotency-key"]
    assert second.headers["idempotency-key"] == key
    assert first.headers["x-mjbulk"] == "1"
    assert me.page.url.rpartition("/")[2] in lost[0]
    me.page.click("text=All imports")
    me.expect(me.find("#runs li")).to_have_count(1, timeout=PATIENCE)
    me.run(b"email\nother@example.org\n")
    assert me.posts("/one/")[-1].headers["idempotency-key"] != key


def test_an_upload_that_does_not_get_through(visit: Visit) -> None:
    """After a few tries the form says so. The reader can try again, under the same key."""
    me = visit()
    me.refusals = True
    me.check(b"email\nann@example.org\n")
    me.sees("#plan")
    me.page.clock.install()
    me.page.route(UPLOADS, lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    me.page.click("#import")
    for tries, seconds in enumerate((1, 2, 4, 8), 1):
        me.sees("#connection", "Trying again")
        while len(me.posts("/one/")) < tries:
            me.page.wait_for_timeout(10)
        me.page.clock.run_for(seconds * 1000)
    me.sees("#refused", "You can try again: nothing is imported twice.")
    me.misses("#connection")
    me.page.unroute(UPLOADS)
    me.page.click("#import")
    me.sees("#run-state", "Done")
    assert len(me.posts("/one/")) == 6
    assert len({one.headers["idempotency-key"] for one in me.posts("/one/")}) == 1


def test_the_server_is_away_for_a_while(visit: Visit, backend: Backend) -> None:
    """The page says so, and shows how the run has gone on when the server is back; the list of runs too."""
    me = visit()
    me.refusals = True
    me.run(b"email\n" + people(50, "quick") + people(50, "in3s-"))
    me.sees("#run-counts", "Accepted50")
    backend.end()
    me.sees("#connection", "The server does not answer.")
    backend.start()
    me.page.click("text=Try now")
    me.misses("#connection")
    me.sees("#run-state", "Done")
    me.sees("#run-counts", "Accepted100")


def test_events_that_do_not_get_through(visit: Visit) -> None:
    """A proxy that holds events back makes the page slower, and not blind."""
    me = visit()
    me.refusals = True
    me.page.route("**/events", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    me.run(b"email\nin1s-proxy@example.org\n")
    me.sees("#run-state", "Done")


def test_answers_that_no_other_try_helps(visit: Visit) -> None:
    """A visitor who is signed out is told so, and one who looks at a run that is gone. A page of somebody else's is no
    answer, and is not shown.
    """
    me = visit()
    me.refusals = True
    me.show("nothing")
    me.sees("#run-problem", "there is no such run")
    me.misses("#run-body")
    me.page.click("text=All imports")
    me.page.route("**/plan?*", lambda route: route.fulfill(status=200, body="<h1>Sign in</h1>"))
    me.check(b"email\nann@example.org\n")
    me.sees("#refused", "you may be signed out")
    me.page.unroute("**/plan?*")
    me.page.context.clear_cookies()
    me.page.click("#check")
    me.sees("#refused", "You are signed out.")


def test_html_is_text(visit: Visit) -> None:
    """Names of files and columns, cells, messages and lists are shown as they are; none of them is an element."""
    me = visit("several")
    me.check(f'email,"{EVIL}"\n{EVIL},"{EVIL}"\nann@example.org,"{EVIL}"\n'.encode(), f"{EVIL}.csv")
    me.sees("#plan .notice", EVIL)
    me.sees("#plan tbody", EVIL)
    me.page.click("#import")
    me.sees("#run-state", "Done, with rejected rows")
    me.sees("#run-title", EVIL)
    me.page.click("#rejected-rows summary")
    me.sees("#rejected-rows dl", EVIL)
    me.page.click("#delete")
    me.sees("#question-text", EVIL)
    me.page.keyboard.press("Escape")
    me.page.click("text=All imports")
    me.sees("#runs a", EVIL)
    assert me.find("img, script:not([src])").count() == 0


def test_many_columns_and_long_cells(visit: Visit) -> None:
    """A row of thousands of columns does not fill the page."""
    me = visit("several")
    names = ",".join(f"c{at}" for at in range(2000))
    me.check(f"email,{names}\nwrong,{'x' * 5000}{',' * 1999}\n".encode())
    me.sees("#plan", "and 1,950 more")
    me.page.click("#plan summary")
    me.sees("#plan dl", "more")
    assert me.find("#plan dl dt").count() <= 101
    assert len(me.find("#plan").inner_text()) < 5000


def screens(me: Visitor) -> Iterator[str]:
    """Go through what the page can look like."""
    long = "a_column_with_a_very_long_name_" * 6
    me.page.click("#more summary")
    me.page.select_option("#list-choice", "2")
    me.check(f"email,{long}\nann@example.org,1\n{'wrong' * 40},{long}\n".encode(), f"{long[:90]}.csv")
    me.sees("#plan")
    yield "plan"
    me.page.click("#import")
    me.sees("#run-state", "Done")
    me.page.click("#rejected-rows summary")
    yield "run"
    me.page.click("#delete")
    yield "question"
    me.page.keyboard.press("Escape")
    me.page.click("text=All imports")
    me.sees("#runs li")
    yield "runs"
    me.page.click("#check")
    me.sees("#refused")
    yield "error"
    me.run(b"email\nin60s-screens@example.org\n")
    me.sees("#run-note", "It waits for")
    yield "under way"
    me.page.click("#stop")
    me.sees("#run-state", "Stopped")
    me.sees("#run-note", "Cause: it was stopped")
    yield "stopped"


def test_looks(visit: Visit) -> None:
    """In light and in dark, each text can be read on what is behind it; all has a name that can be read out. At 360
    pixels nothing scrolls sideways, and buttons are large enough for a finger.
    """
    me = visit("several", has_touch=True)
    for name in screens(me):
        assert me.page.evaluate(NAMES) == [], name
        for scheme in ("light", "dark"):
            me.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page = me.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (min(map(int, re.findall(r"\d+", page))) > 200) is (scheme == "light")
            assert {text: ratio for text, ratio in contrasts(me).items() if ratio < 4.5} == {}, (name, scheme)
        me.page.set_viewport_size({"width": 360, "height": 640})
        me.has_no_scrollbar()
        boxes = [one.bounding_box() for one in me.find("button:visible, .button:visible").all()]
        assert all(box and box["height"] >= 32 and box["x"] + box["width"] <= 360 for box in boxes), name
        me.page.set_viewport_size({"width": 1280, "height": 720})
    takes = "getComputedStyle(document.getElementById('stop')).transitionDuration"
    assert me.page.evaluate(takes) == "0s"
    me.page.emulate_media(reduced_motion="no-preference")
    assert me.page.evaluate(takes) != "0s"


def test_what_the_files_of_the_page_hold() -> None:
    """No script or style stands in the page, nothing is asked of others, and no text is ever made HTML."""
    folder = Path(mjbulk.fastapi.__file__).parent / "ui"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), (
            file
        )
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text), file
        assert not re.search(r"<style|\sstyle=|\son\w+=[\"']|<script(?! type=\"module\" src=\"ui/)", text), file
