"""Links of a built site: those within it lead somewhere, those to other sites are well formed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

LINK_TEXT = re.compile(r"https?://[^\s)>\]]+")


class Page(HTMLParser):
    """The ids of a page, the targets of its links, and the files it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.files: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Keep what an element names."""
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical", "index", "next", "prev", "search"):
            self.files.add(values["href"])
        elif "src" in values:
            self.files.add(values["src"])


def check(site: Path, base: str) -> list[str]:
    """Return what is wrong with the links of a site that will be published at `base`."""
    pages = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    wrong = [f"{name}: loads {file}" for name, page in pages.items() for file in page.files if "//" in file]
    for name, page in pages.items():
        targets = {urljoin(base + name, link) for link in page.links | page.files if link[:5] != "data:"}
        wrong += [f"{name}: {target}" for target in targets if not leads_somewhere(target, site, base, pages)]
    for target in LINK_TEXT.findall((site / "llms.txt").read_text()):
        if not leads_somewhere(target, site, base, pages):
            wrong.append(f"llms.txt: {target}")
    return sorted(wrong)


def leads_somewhere(target: str, site: Path, base: str, pages: dict[str, Page]) -> bool:
    """Return whether a link leads to a file of the site and a place there, or to a possible address."""
    address = urlsplit(target)
    if not target.startswith(base):
        return address.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", address.netloc) is not None
    name = unquote(address._replace(query="", fragment="").geturl().removeprefix(base)) or "index.html"
    fragment = unquote(address.fragment)
    return (site / name).is_file() and (not fragment or fragment in pages[name].ids)
