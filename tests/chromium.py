"""The browser of the page's tests and pictures: Chromium of `make browser`, or the machine's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CACHE = Path(__file__).parent.parent / ".cache" / "browser"
#: A name of Chromium on a machine that has it.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: A browser asks its maker for updates and the like: not in a test, where only the page may ask.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
)  # fmt: skip


def found() -> tuple[Path, dict[str, str]] | None:
    """Chromium's path and what its environment needs; None: there is none."""
    own = CACHE / "usr/lib/chromium/chromium-headless-shell"
    if own.exists():
        folders = [*CACHE.glob("usr/lib/*-linux-gnu"), *CACHE.glob("usr/lib/*-linux-gnu/*/")]
        return own, {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            return Path(path), {}
    return None


def why_not() -> str | None:
    """Why no browser can be driven here; None: one can."""
    try:
        import playwright  # noqa: F401, PLC0415 - only looked for
    except ImportError:
        return "no playwright: `make setup` installs it"
    return None if found() else "no Chromium: `make browser` fetches it"


def axe() -> Path | None:
    """The script that checks accessibility; None: it is not here."""
    path = CACHE / "axe" / "axe.min.js"
    return path if path.exists() else None


#: Of anything that is waited for: two cores may be busy with other tests.
TIMEOUT_MS = 30_000


@contextmanager
def launched() -> Iterator[Any]:
    """A browser, until the end."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not everybody has it

    browser = found()
    assert browser is not None
    path, environment = browser
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=str(path), args=list(ARGUMENTS), env={**os.environ, **environment}
        )
        try:
            yield running
        finally:
            running.close()


class Visit:
    """A page that is open, and all that went wrong with it."""

    def __init__(self, browser, url, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.problems, self.hosts = [], set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.url = url
        # A policy that was broken is reported to the document, also where the console is silent.
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " event => console.error('CSP', event.blockedURI));"
        )

    def _console(self, message):
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, view, **parameters):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        self.page.goto(f"{self.url}/#/{view}{'?' * bool(query)}{query}")
        return self.page

    def check(self):
        """Nothing went wrong, and nobody else was asked."""
        assert not self.problems, self.problems  # pytest explains those of tests alone
        assert self.hosts == {self.url.split("/")[2]}
