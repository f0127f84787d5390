"""Pieces of a self-contained HTML page: no script, no request, readable on a phone and on paper."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
* { box-sizing: border-box }
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 1100px; padding: 1rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .4rem 0 .8rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #ddd }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
p { max-width: 46rem; margin: .5rem 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0 }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e5e5e5 }
th { background: #f6f6f6 }
td.number, th.number { text-align: right; white-space: nowrap }
td small { display: block; color: #555; font-size: .75rem }
tr.main td { background: #eef5ff }
tr.part td { background: #f6f6f6; font-weight: 600 }
tr.aside td { color: #666 }
table.facts th { background: none; font-weight: 600; white-space: nowrap }
table.facts td { overflow-wrap: anywhere }
.banner { padding: .7rem 1rem; margin: .8rem 0; border-left: 6px solid }
.banner p { max-width: none }
.stain { background: #fbd9d5; border-color: #b3261e; font-size: 1.05rem }
.caution { background: #fff4d6; border-color: #d69e00 }
.fine { background: #e2f3e4; border-color: #2e7d32 }
.why { color: #666 }
.tag { border-radius: 1em; padding: .05rem .6rem; white-space: nowrap; font-size: .85rem }
.pass { background: #d5efd8 } .fail { background: #f9d6d2 } .unknown { background: #fff0c2 }
pre { background: #f6f6f6; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .8rem; margin: .5rem 0 }
pre.command { user-select: all; font-size: .9rem }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
figure { margin: 0; max-width: 100%; break-inside: avoid }
figure img { display: block; max-width: 100%; height: auto }
figcaption { font-size: .8rem; color: #444; max-width: 30rem; overflow-wrap: anywhere }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21.5rem), 1fr));
  gap: 1rem }
.overlays { display: flex; flex-wrap: wrap; gap: 1rem }
.overlays figure { width: 10rem }
.overlays img { width: 10rem }
details { margin: .6rem 0 }
summary { cursor: pointer; color: #1a4f8b }
@media (max-width: 34rem) {
  body { padding: .7rem }
  table.facts th { white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
  th, td { padding: .25rem .4rem }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt }
  .wide { overflow: visible } h2, h3 { break-after: avoid } tr { break-inside: avoid }
  .banner, .tag, tr td, th { print-color-adjust: exact }
  details:not([open]) { display: none }
}
"""

#: The browser itself then refuses every request and every script.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Raw(str):
    """Text that is HTML already; everything else is escaped."""


def page(title: str, parts: Iterable[str]) -> str:
    """Put a page together."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def text(value: Any) -> str:
    """Escape a value, unless it is `Raw`."""
    return value if isinstance(value, Raw) else escape(str(value))


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
        rows: Cells; numbers come as text or numbers.
        kinds: CSS class of each row, or None.
    """
    cells = [list(row) for row in rows]
    right = [
        bool(cells) and all(_numeric(row[place]) for row in cells if len(row) == len(header))
        for place in range(len(header))
    ]
    classes = [_class("number" if number else "") for number in right]
    head = "".join(f"<th{c}>{text(name)}</th>" for c, name in zip(classes, header, strict=True))
    body = ""
    for place, row in enumerate(cells):
        wide = f' colspan="{len(header)}"' if len(row) == 1 else ""
        inner = "".join(
            f"<td{c if not wide else wide}>{text(value)}</td>"
            for c, value in zip(classes, row, strict=False)
        )
        body += f"<tr{_class(kinds[place] if kinds else '')}>{inner}</tr>"
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def details(summary: str, content: str) -> str:
    """Something folded; on paper only what was opened shows."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def figure(source: str, alternative: str, caption: str = "") -> str:
    """A picture as a data URI, with what it shows in words."""
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{text(alternative)}">{words}</figure>'


def figures(items: Iterable[str]) -> str:
    """Figures side by side where there is room, else below each other."""
    return f'<div class="figures">{"".join(items)}</div>'


def tag(verdict: str) -> Raw:
    """A coloured word."""
    return Raw(f'<span class="tag {escape(verdict)}">{escape(verdict)}</span>')


def _numeric(value: Any) -> bool:
    if isinstance(value, Raw):
        return value.startswith("<b>")
    if isinstance(value, int | float):
        return True
    plain = str(value).strip("±−-+ %").replace(",", "")
    return plain == "" or plain.replace(".", "", 1).isdigit()


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
