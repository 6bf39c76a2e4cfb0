"""The built site in headless Chromium, at two widths and in both themes: what trips a reader up.

    make browse        # builds the site and runs this

A page fails if the browser reports an error on it, it scrolls sideways, a picture has no
alternative text or does not load, or a link of the site or its anchor leads nowhere. The search
must find what newcomers look for. Without Chromium, Playwright or a built site there is nothing to
look at, and the tests are skipped, or fail if the environment says REQUIRE_BROWSER=1.
"""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

SITE = Path(__file__).resolve().parents[1] / "docs" / "_build" / "html"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOOKS = ((1280, "light"), (390, "dark"))
# The theme lets the text's own frame scroll where the page does not; a reader trips over either.
LOOK = """() => ({
    wide: Math.max(...[document.documentElement, document.querySelector('.bd-article-container')]
        .filter(Boolean).map(x => x.scrollWidth - x.clientWidth)),
    pictures: [...document.images].filter(x => !x.closest('.sphx-glr-thumbcontainer'))
        .filter(x => !x.alt || !x.complete || !x.naturalWidth).map(x => x.src),
    links: [...document.querySelectorAll('article a[href]')].map(x => x.href),
    anchors: [...document.querySelectorAll('[id]')].map(x => x.id),
})"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the site is served."""
    missing = [
        what
        for what, there in (
            ("Chromium (on Debian: apt install chromium)", CHROMIUM),
            ("Playwright (pip install playwright)", find_spec("playwright")),
            ("the site (make docs)", (SITE / "index.html").exists()),
        )
        if not there
    ]
    if missing:
        no = pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip
        no(f"needs {' and '.join(missing)}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    found = browser.new_page()
    yield found
    found.close()


def pages() -> tuple[list[str], list[str]]:
    """What is opened, and what is only read: the reference's pages are alike, but for six."""
    every = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    own = [name for name in every if not name.startswith(("_", "genindex", "py-modindex"))]
    reference = sorted((name for name in own if "generated" in name), key=len)
    return [name for name in own if name not in reference] + reference[-6:], reference[:-6]


def read(name: str) -> tuple[list[str], set[str]]:
    """The links and anchors of a page that is not opened."""
    text = (SITE / name).read_text(encoding="utf-8")
    article = text.partition("<article")[2].partition("</article>")[0]
    return re.findall(r'href="([^"]+)"', article), {*re.findall(r'id="([^"]+)"', text)}


def looked_at(page: Any, address: str, name: str, faults: list[str]) -> tuple[list[str], set[str]]:
    """The links and anchors of a page; what is wrong with it goes into the list."""
    seen: dict[str, Any] = {}
    page.goto(f"{address}/{name}", wait_until="load")
    for width, theme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        seen = page.evaluate(LOOK)
        if seen["wide"] > 0:
            faults.append(f"{name}, {width} wide: scrolls sideways by {seen['wide']} pixels")
        faults += [f"{name}: no text or no picture: {src}" for src in seen["pictures"]]
    return seen["links"], {*seen["anchors"]}


def dead_links(address: str, found: dict[str, tuple[list[str], set[str]]]) -> Iterator[str]:
    for name, (links, _) in found.items():
        for link in {urljoin(f"{address}/{name}", link) for link in links}:
            target, anchor = urldefrag(link)
            if not target.startswith(address):
                continue
            path = unquote(urlsplit(target).path).lstrip("/") or "index.html"
            if not (SITE / path).exists():
                yield f"{name}: {path} is not there"
            elif anchor and path in found and unquote(anchor) not in found[path][1]:
                yield f"{name}: {path} has no #{anchor}"


def test_no_page_trips_a_reader_up(page: Any, address: str) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("console", lambda said: faults.append(f"{page.url}: {said.text}")
            if said.type == "error" else None)  # fmt: skip
    opened, others = pages()
    found = {name: looked_at(page, address, name, faults) for name in opened}
    found |= {name: read(name) for name in others}
    faults += dead_links(address, found)
    assert len(opened) > 50
    assert len(others) > 50
    assert not faults, "\n".join(dict.fromkeys(faults))


@pytest.mark.parametrize(
    ("word", "expected"),
    [("queue", "gcrd"), ("CKA", "linear_cka"), ("NaN", "troubleshooting"), ("Cora", "study")],
)
def test_the_search_finds(word: str, expected: str, page: Any, address: str) -> None:
    page.goto(f"{address}/search.html?q={word}")
    page.wait_for_selector(f"#search-results li a[href*='{expected}']", timeout=20_000)
