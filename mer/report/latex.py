"""The scores of a run as a LaTeX table (package booktabs)."""

from typing import Any

from mer.report.material import Material
from mer.report.scores import NAMES, guesses
from mer.runs.results import HEADS

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escape(value: Any) -> str:
    """Write text so that LaTeX prints it as it is."""
    return "".join(_SPECIAL.get(sign, sign) for sign in str(value))


def table(material: Material) -> str:
    """A `table` environment: a row per part and head, scores with 95 % intervals.

    Args:
        material: A complete run.
    """
    heads = material.metrics["heads"]
    names = [name for name in NAMES if name in heads["majority"]["pooled"]]
    rows = []
    for part in material.parts:
        rows.append(r"\midrule")
        for head, parts in heads.items():
            rows.append(_row(part, HEADS.get(head, head), parts[part], names))
        guess = guesses(heads["majority"][part]["confusion"])
        rows.append(_row(part, "guessing", guess, names))
    get = material.get
    stains = "".join(rf" \textbf{{{escape(s)}.}}" for s in material.stains)
    what = (
        f"{get('backbone.name')} on {get('input.name')}, {get('data.name')}, "
        f"protocol {get('protocol.name')}, selection {get('selection')}, seed {get('seed')}"
    )
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{ll{'c' * len(names)}}}",
            r"\toprule",
            " & ".join(["data", "head", *(escape(NAMES[name]) for name in names)]) + r" \\",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{escape(what)}. Pooled over {material.metrics['folds']} folds; 95\,\% "
            r"bootstrap intervals over persons in brackets; guessing names each class as often as "
            rf"it is true.{stains}}}",
            r"\label{tab:mer}",
            r"\end{table}",
            "",
        ]
    )


def _row(part: str, head: str, values: dict[str, Any], names: list[str]) -> str:
    cells = [_cell(values, name) for name in names]
    return " & ".join([escape(part), escape(head), *cells]) + r" \\"


def _cell(values: dict[str, Any], name: str) -> str:
    if values.get(name) is None:
        return "--"
    text = f"{values[name]:.3f}"
    if name not in values.get("intervals", {}):
        return text
    low, high = values["intervals"][name]
    return f"{text} [{low:.2f}, {high:.2f}]"
