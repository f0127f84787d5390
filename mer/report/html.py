"""Pieces of a self-contained HTML page: no script, no request, readable on a phone and on paper."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
* { box-sizing: border-box }
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 1150px; padding: 1rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .4rem 0 .8rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #ddd }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere }
a { color: #1a4f8b }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; margin: 1rem 0 }
code { font-size: .9em }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0 }
tr { background: #fff }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; background: inherit;
  border-bottom: 1px solid #e5e5e5 }
td { overflow-wrap: break-word; max-width: 40rem }
thead tr, tr.part, tr.total { background: #f6f6f6 }
td.number, th.number { text-align: right }
td.number { white-space: nowrap }
td small { color: #555; font-size: .75rem; margin-left: .35rem }
tr.main { background: #eef5ff }
tr.part td, tr.total td { font-weight: 600 }
tr.aside td { color: #666 }
table.facts th { font-weight: 600; white-space: nowrap }
table.facts td { overflow-wrap: anywhere }
.banner { padding: .7rem 1rem; margin: .8rem 0; border-left: 6px solid }
.banner p { max-width: none }
.stain, .fail { background: #fbd9d5; border-color: #b3261e }
.caution, .unknown { background: #fff0c2; border-color: #d69e00 }
.fine, .pass { background: #dff2e1; border-color: #2e7d32 }
.stain { font-size: 1.05rem }
.why { color: #595959; font-size: .9rem }
.tag { border-radius: 1em; padding: .05rem .6rem; white-space: nowrap; font-size: .85rem }
pre { background: #f6f6f6; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .8rem; margin: .5rem 0 }
pre.command { user-select: all; font-size: .9rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin: .6rem 0 }
figure { margin: 0; max-width: 100%; break-inside: avoid }
figure img { display: block; max-width: 100%; height: auto }
figcaption { font-size: .8rem; color: #444; max-width: 30rem; overflow-wrap: anywhere }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21.5rem), 1fr));
  gap: 1rem }
.samples img { width: 100% }
.overlays { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 11rem)) }
.overlays img { width: 100% }
details { margin: .6rem 0 }
summary { cursor: pointer; color: #1a4f8b }
@media screen and (max-width: 40rem) {
  body { padding: .7rem }
  th, td { padding: .25rem .3rem }
  table { font-size: .8rem }
  td small { display: block; margin: 0; font-size: .7rem }
  table.facts th { white-space: normal }
  .wide > table > * > tr > :first-child:not([colspan]) { position: sticky; left: 0 }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt }
  h2, h3, h2 + p, h2 + p + p, h3 + p, pre { break-after: avoid }
  nav, details:not([open]) { display: none }
  .wide { overflow: visible }
  p, tr, tbody:has(> .part), .banner { break-inside: avoid }
  .figures figure:not(:only-child) { width: 31% }
  .samples { grid-template-columns: repeat(3, 1fr) }
  .overlays { grid-template-columns: repeat(5, 1fr) }
  * { print-color-adjust: exact }
}
"""

#: The browser itself then refuses every request and every script.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Raw(str):
    """Text that is HTML already; everything else is escaped."""


class Number(Raw):
    """HTML of a number, which goes into a column of numbers."""


def page(title: str, opening: Iterable[str], sections: Mapping[str, str]) -> str:
    """Put a page together.

    Args:
        title: Of the page.
        opening: What stands between the title and the list of sections.
        sections: Heading -> content.
    """
    anchors = {name: re.sub(r"[^a-z]+", "-", name.lower()).strip("-") for name in sections}
    links = "\n".join(f'<a href="#{place}">{text(name)}</a>' for name, place in anchors.items())
    body = "\n".join(
        f'<section id="{anchors[name]}">\n{heading(name)}\n{content}\n</section>'
        for name, content in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join([heading(title, 1), *opening, f"<nav>\n{links}\n</nav>", body])
        + "\n</body>\n</html>\n"
    )


def text(value: Any) -> str:
    """Escape a value, unless it is `Raw`, and set what stands in backticks as code."""
    if isinstance(value, Raw):
        return value
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(str(value)))


def heading(words: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{text(words)}</h{level}>"


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph; `kind` is its CSS class."""
    return f"<p{_class(kind)}>{text(words)}</p>"


def banner(kind: str, title: str, sentences: Iterable[str] = ()) -> str:
    """A box that is not to be overlooked: kind `stain`, `caution` or `fine`."""
    more = "".join(f"<p>{text(sentence)}</p>" for sentence in sentences)
    return f'<div class="banner {kind}"><p><b>{text(title)}</b></p>{more}</div>'


def facts(pairs: Mapping[str, Any]) -> str:
    """A table of two columns; pairs without a value are left out."""
    rows = (
        f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>"
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return f'<table class="facts">{"".join(rows)}</table>'


def table(
    header: Sequence[Any], rows: Iterable[Sequence[Any]], kinds: Sequence[str] | None = None
) -> str:
    """A table that scrolls where the window is narrow; columns of numbers are set to the right.

    Args:
        header: Headings.
        rows: Cells; a row of a single cell reaches over the whole table.
        kinds: CSS class of each row, or None; a row of class `part` heads a group of rows that
            paper keeps on one page.
    """
    cells = [list(row) for row in rows]
    whole = [row for row in cells if len(row) == len(header)]
    classes = [
        _class("number" if whole and all(map(_numeric, column)) else "")
        for column in (zip(*whole, strict=True) if whole else [[] for _ in header])
    ]
    head = "".join(f"<th{c}>{text(name)}</th>" for c, name in zip(classes, header, strict=True))
    groups: list[str] = [""]
    for row, kind in zip(cells, kinds or [""] * len(cells), strict=True):
        styles = [f' colspan="{len(header)}"'] if len(row) == 1 else classes
        inner = "".join(f"<td{c}>{text(cell)}</td>" for c, cell in zip(styles, row, strict=True))
        if kind == "part" and groups[-1]:
            groups.append("")
        groups[-1] += f"<tr{_class(kind)}>{inner}</tr>"
    body = "".join(f"<tbody>{group}</tbody>" for group in groups)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{body}</table></div>'


def details(summary: str, content: str) -> str:
    """Something folded; on paper only what was opened shows."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def figure(source: str, alternative: str, caption: str = "") -> str:
    """A picture as a data URI, with what it shows in words."""
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{escape(alternative)}">{words}</figure>'


def figures(items: Iterable[str]) -> str:
    """Figures side by side where there is room, else below each other."""
    return f'<div class="figures">{"".join(items)}</div>'


def tag(verdict: str) -> Raw:
    """A coloured word."""
    return Raw(f'<span class="tag {escape(verdict)}">{escape(verdict)}</span>')


def _numeric(value: Any) -> bool:
    if isinstance(value, Number | int | float):
        return True
    plain = str(value).strip("–+-")
    return plain == "" or plain.replace(".", "", 1).isdigit()


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
