"""The page of imports in a browser: its server, and somebody who uses it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from attrs import define, field

from mjbulk.testing import EmulatedJob, Emulator, Knobs, serve_in_thread

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, FilePayload, Locator, Page, Request

PATIENCE = 15_000.0
"""Milliseconds for what the page shows: other tests may keep the machine busy."""
ROWS_OF_A_JOB = 50


def seconds_of(job: EmulatedJob) -> float:
    """A job takes long if its first address asks for that: ``in2s-ann@example.org`` takes two seconds."""
    head, _, tail = job.rows[0]["Email"].partition("s-")
    return float(head.removeprefix("in")) if tail and head.startswith("in") else 0.02


def people(count: int, tag: str = "p") -> bytes:
    return b"".join(b"%s%d@example.org\n" % (tag.encode(), at) for at in range(count))


def csv(body: bytes, name: str = "people.csv") -> "FilePayload":
    return {"name": name, "mimeType": "text/csv", "buffer": body}


def recode(folder: Path, run_id: str, message: str, code: str) -> None:
    """Give rejected rows with this message another code, in the files of a run that has ended."""
    (home,) = folder.glob(f"uploads-*/*/{run_id}")
    rows = [orjson.loads(line) for line in (home / "rejections.jsonl").read_bytes().splitlines()]
    for row in rows:
        row["code"] = code if message in row["message"] else row["code"]
    until = (home / "rejections.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    run = orjson.loads((home / "run.json").read_bytes())
    run |= {"by_code": Counter(row["code"] for row in rows), "rejected_until": until}
    (home / "run.json").write_bytes(orjson.dumps(run))


@define
class Backend:
    """The application in a process of its own. Mutable state: the process."""

    emulator: Emulator
    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        here = ["--app-dir", str(Path(__file__).parent), "--port", str(self.port), "--log-level", "warning"]
        says = {"MJ_API_URL": self.emulator.url, "MJBULK_POLL_MIN": "0.02", "MJBULK_CHUNK_ROWS": str(ROWS_OF_A_JOB)}
        command = [sys.executable, "-m", "uvicorn", "page_app:app", *here]
        self.process = subprocess.Popen(command, cwd=self.folder, env={**os.environ, **says})
        deadline = time.monotonic() + 60
        while not self._listens():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)


@contextmanager
def serving(folder: Path) -> Iterator[Backend]:
    """Serve the application, and an emulator whose accounts share lists 1 and 2."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    knobs = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=seconds_of, one_account=True)
    with serve_in_thread(knobs) as served:
        served.emulator.create_list("Second")
        backend = Backend(served.emulator, folder, port)
        backend.start()
        try:
            yield backend
        finally:
            backend.end(signal.SIGKILL)


@contextmanager
def browsing() -> Iterator["Browser"]:
    """Start Chromium. The test is skipped where it is missing."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    try:
        library = import_module("playwright.sync_api")
    except ImportError:
        pytest.skip("playwright is missing: pip install -e '.[test-all]'")
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@define
class Visitor:
    """Somebody who looks at the page. Mutable state: what the browser has said meanwhile."""

    backend: Backend
    page: "Page"
    errors: list[str] = field(factory=list)
    foreign: list[str] = field(factory=list)
    sent: "list[Request]" = field(factory=list)
    refusals: bool = False
    """Whether requests are refused or lost in this test: Chromium itself writes those to the console."""

    def listen(self) -> None:
        self.page.on("console", lambda message: self._hear(message.type, f"{message.text} {message.location}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self._close(dialog))  # noqa: PLW0108  # playwright marks the object
        self.page.on("request", lambda request: self._see(request))  # noqa: PLW0108  # of a method, and this has slots

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not (self.refusals and "Failed to load resource" in text):
            self.errors.append(text)

    def _close(self, dialog: "Dialog") -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _see(self, request: "Request") -> None:
        self.sent.append(request)
        if not request.url.startswith((f"{self.backend.url}/", "blob:")):
            self.foreign.append(request.url)

    def open(self, site: str = "one") -> None:
        self.page.goto(f"{self.backend.url}/{site}/ui")
        self.expect(self.page.locator("#actions input").first).to_be_visible(timeout=PATIENCE)

    def expect(self, what: "Locator") -> Any:
        return import_module("playwright.sync_api").expect(what)

    def find(self, selector: str) -> "Locator":
        return self.page.locator(selector)

    def sees(self, selector: str, text: str | None = None) -> None:
        """Wait until something is visible, with this text somewhere in it."""
        self.expect(self.find(selector).first).to_be_visible(timeout=PATIENCE)
        if text is not None:
            self.expect(self.find(selector).first).to_contain_text(text, timeout=PATIENCE)

    def misses(self, selector: str) -> None:
        self.expect(self.find(selector)).to_be_hidden(timeout=PATIENCE)

    def check(self, body: bytes, name: str = "people.csv") -> None:
        """Choose a file, and press "Check the file"."""
        self.page.set_input_files("#file", csv(body, name))
        self.page.click("#check")

    def post(self, body: bytes, name: str = "people.csv", site: str = "one") -> str:
        """Import a file without the page, and give the run_id."""
        url = f"{self.backend.url}/{site}/"
        answer = self.page.request.post(url, headers={"X-Mjbulk": "1"}, multipart={"file": csv(body, name)})
        assert answer.status == 202, answer.text()
        run_id: str = answer.json()["run_id"]
        return run_id

    def show(self, run_id: str) -> None:
        self.page.evaluate("(hash) => { location.hash = hash; }", f"#/runs/{run_id}")

    def run(self, body: bytes, name: str = "people.csv") -> str:
        """Import a file, and give the run_id."""
        self.check(body, name)
        self.page.click("#import")
        self.sees("#run-state")
        return self.page.url.rpartition("/")[2]

    def posts(self, path: str) -> "list[Request]":
        return [one for one in self.sent if one.method == "POST" and one.url.partition("?")[0].endswith(path)]

    def has_no_scrollbar(self) -> None:
        width, seen = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert width <= seen

    def focus(self) -> str:
        """The ID of what has the focus, or its name."""
        found: str = self.page.evaluate("document.activeElement.id || document.activeElement.tagName")
        return found


@contextmanager
def visiting(browser: "Browser", backend: Backend, tenant: str, **how: Any) -> Iterator[Visitor]:
    """Open a page of this tenant's. At the end, nothing was wrong with it, and no request left for another origin."""
    context = browser.new_context(**how)
    context.set_default_timeout(PATIENCE)
    context.add_cookies([{"name": "tenant", "value": tenant, "url": backend.url}])
    try:
        visitor = Visitor(backend, context.new_page())
        visitor.listen()
        yield visitor
        assert not visitor.errors, str(visitor.errors)
        assert visitor.foreign == []
    finally:
        context.close()


NAMES = """() => [...document.querySelectorAll("input, select, textarea, button, progress, nav, dialog, a, section")]
    .filter((node) => !(node.closest("[hidden]") || node.labels?.length
        || node.getAttribute("aria-label") || node.textContent.trim()
        || document.getElementById(node.getAttribute("aria-labelledby"))))
    .map((node) => node.outerHTML)"""
"""Elements that a screen reader would have no name for."""

CONTRASTS = """() => {
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((x) => (x /= 255, x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if ((parts(colour)[3] ?? 1) > 0) return colour;
        }
    };
    const found = {};
    for (const node of document.querySelectorAll("body *")) {
        const says = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
        if (!says || !node.checkVisibility() || node.disabled || node.closest("datalist, option, .unseen")) continue;
        const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
        found[`${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 30)}`] = (a + 0.05) / (b + 0.05);
    }
    return found;
}"""
"""The contrast of each visible text to what is behind it."""


def contrasts(visitor: Visitor) -> Mapping[str, float]:
    found: Mapping[str, float] = visitor.page.evaluate(CONTRASTS)
    return found
