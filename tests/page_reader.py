"""A reader of the pages of `mer report` and of searches."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page as its reader sees it; raises where a tag is not closed or closed twice.

    Attributes:
        sections: Heading -> text below it; the text above the first one under "".
        facts: Name -> value of all lists of facts.
        tables: Rows of cells of each table, in the order of the page.
        sources: Every `src` and `href`.
        alternatives: Descriptions of the pictures.
        tags: Names of all tags.
    """

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {"": ""}
        self.facts: dict[str, str] = {}
        self.tables: list[list[list[str]]] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self._here = ""
        self.feed(html)
        self.close()
        assert self._open == []
        self.sections = {name: " ".join(text.split()) for name, text in self.sections.items()}
        self.tables = [[[" ".join(c.split()) for c in r] for r in rows] for rows in self.tables]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.sources += [values[name] for name in ("src", "href") if name in values]
        assert not any(name.startswith("on") for name in values), f"a script in <{tag}>"
        if tag == "img":
            self.alternatives.append(values["alt"])
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "h2":
            self._here = ""
        elif tag == "dt":
            self._name = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "dt":
            self.facts[self._name] = ""

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self._here += data
            self.sections[self._here] = ""
        elif "style" not in self._open:
            self.sections[self._here] += data
        if "dt" in self._open:
            self._name += data
        elif "dd" in self._open:
            self.facts[self._name] += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data

    def table(self, heading: str) -> list[list[str]]:
        """Rows of the first table whose first cell is this."""
        return next(rows for rows in self.tables if rows[0][0] == heading)[1:]

    @property
    def text(self) -> str:
        return "\n".join(self.sections.values())
