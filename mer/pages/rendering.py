"""Renders the templates: pages with everything escaped, in one file, without script or request."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def render(template: str, **values: Any) -> str:
    """Fill in a template of `mer/pages/templates`.

    Args:
        template: File name; `*.html.j2` is escaped for HTML, `*.tex.j2` for LaTeX.
        values: Variables of the template; one that is missing is an error.
    """
    return (HTML if ".html" in template else LATEX).get_template(template).render(values)


def latex(value: Any) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_SPECIAL.get(sign, sign) for sign in str(value))


def _environment(**options: Any) -> Environment:
    return Environment(
        loader=PackageLoader("mer.pages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


HTML = _environment(autoescape=True)
HTML.filters["anchor"] = lambda heading: re.sub("[^a-z0-9]+", "-", heading.lower())
LATEX = _environment(autoescape=False, finalize=latex)
