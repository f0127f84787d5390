"""What the pages say: commands in fenced blocks and in the text, links, and files with a title."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:mer|make) [^`]+)`")

#: Words that stand for what a reader has: a run, a folder, a name.
STANDS_FOR = {"RUN": "runs/demo", "FOLDER_OF_THE_TABLE": "mine", "MODEL": "runs/demo"}

#: Signs of a synopsis (`mer compare DIR`, `mer predict [MODEL] INPUT...`), which nobody types.
SYNOPSIS = re.compile(r"\.\.\.|\[[A-Z-]|\b(?:COMMAND|DIR|FILE|INPUT|KEY|NAME|WORDS|X)\b")


class Typed(NamedTuple):
    """A command of a page."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands(page: Path) -> Iterator[Typed]:
    """Give every command that a page shows, in the order of the page."""
    text = page.read_text(encoding="utf-8")
    lines: list[tuple[int, str]] = []
    for block in FENCE.finditer(text):
        language = block[1].strip()
        for line in block[2].replace("\\\n", " ").splitlines():
            if language == "bash" or (not language and re.match(r"(mer|make|export|pip) ", line)):
                lines.append((block.start(), line))
    plain = FENCE.sub(lambda block: " " * len(block[0]), text)
    lines += [(found.start(), found[1]) for found in INLINE.finditer(plain)]
    for _, line in sorted(lines, key=lambda entry: entry[0]):
        if not SYNOPSIS.search(line.split(" #")[0].replace("FOLDER_OF_THE_TABLE", "mine")):
            words = tuple(STANDS_FOR.get(word, word) for word in shlex.split(line, comments=True))
            words = tuple(
                re.sub(r"(?<==)(RUN|FOLDER_OF_THE_TABLE)$", lambda name: STANDS_FOR[name[1]], word)
                for word in words
            )
            if words:
                yield Typed(page.name, words)


def titled(page: Path) -> dict[str, str]:
    """Files that a page shows in full: title -> content."""
    found = re.findall(r'```\w+ title="([^"]+)"\n(.*?)```\n', page.read_text(), re.DOTALL)
    return dict(found)


def links(page: Path) -> Iterator[str]:
    """Targets of a page's links and pictures."""
    plain = FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from re.findall(r"\]\(([^)\s]+)\)", plain)
    yield from re.findall(r'\bsrc(?:set)?="([^"]+)"', plain)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as MkDocs and GitHub write them."""
    plain = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in headings
    }
