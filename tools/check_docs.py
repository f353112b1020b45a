#!/usr/bin/env python3
"""Checks the links of every Markdown file of the project: files exist, anchors exist.

    python3 tools/check_docs.py [ROOT]

Links into the project are followed (files, folders, #anchors of Markdown files); links to other sites are counted, not
followed, so that the result depends on the tree alone. Prints one line per broken link, `file:line: what is wrong`, and exits
with 1 when there is any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)*?\1")
_INLINE = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*[\"'])?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[([^\]]+)\]:\s*<?(\S+?)>?(?:\s|$)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=[\"']([^\"']+)[\"']")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]", "", text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@dataclass
class Page:
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[int, str]] = field(default_factory=list)


def read_page(text: str) -> Page:
    page = Page()
    seen: dict[str, int] = {}
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and (not fence or mark.group(1).startswith(fence)):
            fence = "" if fence else mark.group(1)
            continue
        if fence:
            continue
        page.anchors.update(_HTML_ANCHOR.findall(line))
        heading = _HEADING.match(line)
        if heading:
            anchor = slug(heading.group(1))
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            page.anchors.add(f"{anchor}-{count}" if count else anchor)
        plain = _CODE_SPAN.sub("", line)
        page.links += [(number, target) for target in _INLINE.findall(plain)]
        reference = _REFERENCE.match(plain)
        if reference:
            page.links.append((number, reference.group(2)))
    return page


class Checker:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.pages: dict[Path, Page] = {}
        self.outside = 0
        self.inside = 0

    def files(self) -> list[Path]:
        """Markdown files that are tracked or new; without git, all of them."""
        listed = subprocess.run(
            ["git", "-C", self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
            capture_output=True, check=False,
        )
        if listed.returncode == 0 and listed.stdout:
            names = listed.stdout.decode().split("\0")
            return sorted(path for name in names if name and (path := self.root / name).is_file())
        return sorted(self.root.rglob("*.md"))

    def page(self, path: Path) -> Page:
        if path not in self.pages:
            self.pages[path] = read_page(path.read_text(encoding="utf-8"))
        return self.pages[path]

    def broken(self, path: Path, link: str) -> str | None:
        """What is wrong with a link on this page, if anything."""
        if _ELSEWHERE.match(link) or link.startswith("//"):
            self.outside += 1
            return None
        self.inside += 1
        name, _, anchor = link.partition("#")
        target = path
        if name:
            target = (self.root / unquote(name).lstrip("/") if name.startswith("/") else path.parent / unquote(name)).resolve()
            if not target.is_relative_to(self.root):
                return f"'{link}' leads out of the project"
            if not target.exists():
                return f"'{link}': there is no {target.relative_to(self.root)}"
        if anchor and target.suffix == ".md" and unquote(anchor) not in self.page(target).anchors:
            return f"'{link}': {target.relative_to(self.root)} has no heading for #{anchor}"
        return None

    def run(self) -> list[str]:
        complaints = []
        for path in self.files():
            for line, link in self.page(path).links:
                wrong = self.broken(path, link)
                if wrong:
                    complaints.append(f"{path.relative_to(self.root)}:{line}: {wrong}")
        return complaints


def main(arguments: list[str]) -> int:
    if any(a in ("-h", "--help") for a in arguments) or len(arguments) > 1:
        print((__doc__ or "").strip())
        return 0 if len(arguments) == 1 else 2
    checker = Checker(Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1])
    complaints = checker.run()
    for complaint in complaints:
        print(complaint)
    print(
        f"docs: {len(checker.pages)} pages, {checker.inside} links inside the project, {len(complaints)} broken, "
        f"{checker.outside} links elsewhere (not followed)"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
