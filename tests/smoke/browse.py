"""The built site in headless Chromium, at two widths and in both themes: what trips a reader up.

    make browse        # builds the site and runs this; needs chromium

A page fails if the browser reports an error on it, it scrolls sideways, a picture has no
alternative text or does not load, or a link of the site or its anchor leads nowhere. The search
must find what newcomers look for.
"""

import argparse
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from playwright.sync_api import Page, sync_playwright

WIDTHS, THEMES = (1280, 390), ("light", "dark")
FOUND = {"queue": "gcrd", "CKA": "linear_cka", "NaN": "troubleshooting", "Cora": "study"}
LOOK = """() => ({
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    pictures: [...document.images].filter(x => !x.closest('.sphx-glr-thumbcontainer'))
        .filter(x => !x.alt || !x.complete || !x.naturalWidth).map(x => x.src),
    links: [...document.querySelectorAll('article a[href]')].map(x => x.href),
    anchors: [...document.querySelectorAll('[id]')].map(x => x.id),
})"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def pages(site: Path) -> list[str]:
    """All pages, and of the reference, whose pages are alike, every tenth."""
    every = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    own = [page for page in every if not page.startswith(("_", "genindex", "py-modindex"))]
    reference = [page for page in own if "generated" in page]
    return [page for page in own if page not in reference] + reference[::10]


def looked_at(page: Page, address: str, name: str, faults: list[str]) -> tuple[list[str], set[str]]:
    """The links and anchors of a page; what is wrong with it goes into the list."""
    links: list[str] = []
    anchors: set[str] = set()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.goto(f"{address}/{name}", wait_until="load")
            seen = page.evaluate(LOOK)
            if seen["wide"] > 0:
                faults.append(f"{name}, {width} wide: scrolls sideways by {seen['wide']} pixels")
            faults += [f"{name}: no text or no picture: {src}" for src in seen["pictures"]]
            links, anchors = seen["links"], {*seen["anchors"]}
    return links, anchors


def searched(page: Page, address: str, faults: list[str]) -> None:
    for word, expected in FOUND.items():
        page.goto(f"{address}/search.html?q={word}")
        page.wait_for_selector("#search-results li a", timeout=20_000)
        page.wait_for_timeout(1000)  # results come one by one
        hits = page.eval_on_selector_all("#search-results li a", "all => all.map(x => x.href)")
        if not any(expected in hit for hit in hits):
            faults.append(f"search: {word} does not find a page of {expected}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, nargs="?", default=Path("docs/_build/html"))
    site = parser.parse_args().site
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("No chromium here. On Debian: apt install chromium.")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, faults = f"http://127.0.0.1:{server.server_port}", []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on("console", lambda said: faults.append(f"{page.url}: {said.text}")
                if said.type == "error" else None)  # fmt: skip
        names = pages(site)
        found = {name: looked_at(page, address, name, faults) for name in names}
        searched(page, address, faults)
        browser.close()
    for name, (links, _) in found.items():
        for link in {urljoin(f"{address}/{name}", link) for link in links}:
            target, anchor = urldefrag(link)
            if not target.startswith(address):
                continue
            path = unquote(urlsplit(target).path).lstrip("/") or "index.html"
            if not (site / path).exists():
                faults.append(f"{name}: {path} is not there")
            elif anchor and path in found and unquote(anchor) not in found[path][1]:
                faults.append(f"{name}: {path} has no #{anchor}")
    print(*dict.fromkeys(faults), sep="\n")
    print(f"{len(names)} pages, {len(WIDTHS)} widths, {len(THEMES)} themes: ", end="")
    print("nothing wrong" if not faults else f"{len({*faults})} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
