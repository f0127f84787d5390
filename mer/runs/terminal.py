"""The console of all tables and sentences: what is printed on it is text, and nothing else.

Names of datasets, classes, heads and files may come from somebody else. They are printed letter by
letter: square brackets are no markup here, and control characters are written out.
"""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mer.errors import printable


class Terminal(Console):
    """A console without markup that writes out control characters. Styles come as `rich.Text`."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what `Console.render` does, made printable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def console() -> Terminal:
    """A console as wide as the terminal, or wide enough for the tables where there is none."""
    wide = sys.stdout is None or not sys.stdout.isatty()
    return Terminal(width=120 if wide else None, markup=False, emoji=False, highlight=False)
