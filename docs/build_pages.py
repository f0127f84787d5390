"""What the site has beyond the Markdown of docs/: a hook of MkDocs, named in mkdocs.yml.

Three kinds of comments in a page become text when the site is built: `<!-- configuration -->` the
reference of conf/, `<!-- api -->` that of the public names, and

    <!-- results: experiments/STUDY/results.csv; where: data=pooled, run=a|b; show: run as way -->

the rows of a table. Where a file has `uf1_low` and `uf1_high`, `uf1` comes with its interval. Files
of the repository that pages link to are part of the site.
"""

import csv
import dataclasses
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[#)\s])")
FENCE = re.compile(r"^(```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)

SCORES = {"uf1": "UF1", "uar": "UAR"}

#: Groups of conf/ in the order of the page: name -> what is chosen.
GROUPS = {
    "data": "which datasets, and where",
    "labels": "which emotions form which class",
    "protocol": "who is trained on, who is tested",
    "prepare": "face crop, flow",
    "input": "what the network sees of a sample",
    "backbone": "the network",
    "model": "micro fine-tuning",
    "macro": "macro-pretraining",
    "callbacks": "what is fitted on the embeddings, and what watches the training",
    "trainer": "devices, precision, speed",
    "logger": "where a run's history goes",
    "experiment": "several of these at once",
    "search": "hyper-parameter searches",
    "debug": "small runs that find mistakes",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to, and those that these link to."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen: set[str] = set()
    while pages:
        page = pages.pop()
        for name in linked(page, (ROOT / page).read_text(encoding="utf-8")):
            if name.startswith("docs/") or name in seen:
                continue
            seen.add(name)
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
            if name.endswith(".md"):
                pages.append(name)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Carry out a page's comments, and lead its links to where the site has the files."""
    uri = page.file.src_uri
    name = f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri

    def place(match: re.Match[str]) -> str:
        target = target_of(name, match[1])
        if target is None:
            return match[1]
        return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(uri) or ".")

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(place, part) for part in parts[::2]]
    text = "".join(parts)
    text = text.replace("<!-- configuration -->", configuration())
    text = text.replace("<!-- api -->", api())
    return re.sub(r"<!-- results: (.*?) -->", lambda match: results(match[1]), text)


def linked(page: str, text: str) -> Iterator[str]:
    """Files of the repository that a page links to, from the repository's top."""
    for part in FENCE.split(text)[::2]:
        for link in LINK.findall(part):
            target = target_of(page, link)
            if target is not None:
                yield target


def target_of(page: str, link: str) -> str | None:
    """File that a link of a page names; None for other sites and for what does not exist."""
    if re.match(r"[a-z]+:", link):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if (ROOT / path).is_dir():
        path += "/README.md"
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def results(words: str) -> str:
    """Draw rows of a results.csv as a table."""
    file, *options = words.split("; ")
    given = dict(option.split(": ", 1) for option in options)
    wanted = dict(pair.split("=") for pair in given.get("where", "").split(", ") if pair)
    with (ROOT / file).open(encoding="utf-8", newline="") as text:
        rows = [
            row
            for row in csv.DictReader(text)
            if all(row[key] in values.split("|") for key, values in wanted.items())
        ]
    if not rows:
        raise ValueError(f"{file} has no row with {wanted}")
    shown = [column.partition(" as ") for column in given["show"].split(", ")]
    titles = [title or SCORES.get(name, name.replace("_", " ")) for name, _, title in shown]
    lines = [titles, ["---"] * len(shown)]
    lines += [[cell(row, name) for name, _, _ in shown] for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f'<div class="results" markdown>\n\n{table}\n\n</div>\n\n[All numbers]({link_to(file)})'


def link_to(file: str) -> str:
    """A study's page: the folder of its results."""
    return posixpath.dirname(file) + "/README.md"


def cell(row: dict[str, str], column: str) -> str:
    """Value of a cell, with its interval where the row has one."""
    value = number(row[column])
    if row.get(f"{column}_low"):
        low, high = (f"{float(row[f'{column}_{end}']):.2f}".lstrip("0") for end in ("low", "high"))
        return f"{value} [{low}, {high}]"
    return value


def number(text: str) -> str:
    """Three digits of a share, two decimals of other fractions."""
    try:
        value = float(text)
    except ValueError:
        return text
    if 0 < value < 1:
        return f"{value:.3f}".lstrip("0")
    return f"{value:.2f}" if "." in text else text


#: Class of settings -> file of conf/ that explains it, and where its keys begin there.
SETTINGS = {
    "Augment": ("model/finetune", "augment"),
    "Backbone": ("backbone/mobilevit_xxs", ""),
    "Finetune": ("model/finetune", ""),
    "Flow": ("prepare/default", "flow"),
    "Input": ("input/flow", ""),
    "Motion": ("macro/synthetic_motion", "motion"),
    "Optimizer": ("model/finetune", "optimizer"),
    "Prepare": ("prepare/default", ""),
    "Pretrain": ("macro/default", ""),
    "Trainer": ("trainer/auto", ""),
    "Transfer": ("model/finetune", "transfer"),
}


def api() -> str:
    """Tables of the settings' fields, and instructions for mkdocstrings: every public name."""
    import mer

    names = sorted(mer._PUBLIC, key=str.lower)
    modules = [name for name in names if mer._PUBLIC[name] == f"mer.{name}"]
    others = [name for name in names if name not in modules and name not in SETTINGS]
    lines = [
        "## Functions and classes\n",
        *(f"::: {mer._PUBLIC[name]}.{name}\n" for name in others),
    ]
    lines += ["## Settings\n", "Fields have the names and meaning of the keys in `conf/`.\n"]
    lines += [fields(getattr(mer, name), *SETTINGS[name]) for name in names if name in SETTINGS]
    return "\n".join([*lines, "## Modules\n", *(f"::: mer.{name}\n" for name in modules)])


def fields(settings: type, file: str, top: str) -> str:
    """Draw the fields of a class of settings as a table, with the comments of conf/."""
    _, rows = keys((ROOT / "conf" / f"{file}.yaml").read_text(encoding="utf-8"))
    comments = {key.removeprefix(f"{top}."): comment for key, _, comment in rows}
    group = ".".join(filter(None, (file.partition("/")[0], top)))
    lines = [
        f"### {settings.__name__} {{ #mer.config.settings.{settings.__name__} }}\n",
        f"{(settings.__doc__ or '').partition(chr(10))[0]} Keys: `{group}.*`.\n",
        '<div class="reference" markdown>\n',
        "| field | default | |\n| --- | --- | --- |",
    ]
    for field in dataclasses.fields(settings):
        lines.append(
            f"| `{field.name}` | {_default(field)} | {_cell(comments.get(field.name, ''))} |"
        )
    return "\n".join([*lines, "\n</div>\n"])


def _default(field: dataclasses.Field[Any]) -> str:
    default: Any = field.default
    if isinstance(default, FieldInfo):
        default = default.get_default(call_default_factory=True)
    if dataclasses.is_dataclass(default):
        return f"`{type(default).__name__}()`"
    return _code(repr(default))


def configuration() -> str:
    """Every file of conf/ with its comments: keys of the first file of a group as a table."""
    lines = ["## Settings of a run\n", *described(ROOT / "conf" / "train.yaml", "")]
    for group, what in GROUPS.items():
        files = sorted((ROOT / "conf" / group).glob("*.yaml"), key=_chosen_first)
        lines += [f"## {group}: {what}\n"]
        for file in files:
            lines += [f"### `{group}={file.stem}`\n", *described(file, group)]
    return "\n".join(lines)


def _chosen_first(file: Path) -> tuple[bool, str]:
    defaults = yaml.safe_load((ROOT / "conf" / "train.yaml").read_text(encoding="utf-8"))[
        "defaults"
    ]
    chosen = {
        key: value for entry in defaults if isinstance(entry, dict) for key, value in entry.items()
    }
    return chosen.get(file.parent.name) != file.stem, file.stem


def described(file: Path, group: str) -> Iterable[str]:
    """Lines of Markdown: a file's first comment, and a table of its keys."""
    text = file.read_text(encoding="utf-8")
    head, rows = keys(text)
    yield head + "\n"
    if "# @package _global_" in text:
        group = ""
    if rows:
        yield '<div class="reference" markdown>\n'
        yield "| key | default | |\n| --- | --- | --- |"
        for key, value, comment in rows:
            full = f"{group}.{key}" if group else key
            yield f"| `{full}` | {_code(value)} | {_cell(comment)} |"
        yield "\n</div>\n"


def keys(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """First comment of a YAML file, and (key, value, comment) of each of its keys.

    A comment belongs to the key on its own line; one on lines of its own belongs to the key below,
    or, far to the right, to the key above.
    """
    lines = text.splitlines()
    start = next(
        (n for n, line in enumerate(lines) if line and not line.startswith("#")), len(lines)
    )
    comments = [line.lstrip("# ") for line in lines[:start] if not line.startswith("# @package")]
    blank = next((n for n, line in enumerate(lines[:start]) if not line), None)
    above: list[tuple[int, str]] = []
    if blank is not None:  # the comment after a blank line is that of the first key
        above = [(0, line.lstrip("# ")) for line in lines[blank:start] if line]
        comments = [
            line.lstrip("# ") for line in lines[:blank] if not line.startswith("# @package")
        ]
    head = " ".join(comments)
    nodes = {mark.line: (path, node) for path, mark, node in _walk(yaml.compose(text), "")}
    rows: list[tuple[str, str, str]] = []
    for number, line in enumerate(lines[start:], start):
        plain, found = _split(line)
        if number in nodes:
            path, node = nodes[number]
            if path.startswith(("defaults", "hydra")):
                above = []
                continue
            shallow = [text for depth, text in above if depth <= line.index(plain.strip())]
            for _, text in above[: len(above) - len(shallow)]:  # indented deeper: of the key above
                _extend(rows, f"<br>{text}")
            rows.append((path, _value(node), " ".join([*shallow, found] if found else shallow)))
            above = []
        elif found and not plain.strip():
            deep = line.index("#") > 20 or re.match(r"\s*#\s{2}", line)
            found = re.sub(r"^([a-z]\w*)(?:: +| {2,})", r"<br>`\1`: ", found)  # an entry of a list
            if deep and rows and not above:
                _extend(rows, found)
            else:
                above.append((line.index("#"), found))
        elif not line.strip():
            above = []
    rows = [(path, value, comment.removeprefix("<br>")) for path, value, comment in rows]
    return head, [row for row in rows if row[1] or row[2]]


def _extend(rows: list[tuple[str, str, str]], text: str) -> None:
    """Add to the comment of the last key."""
    path, value, comment = rows[-1]
    rows[-1] = (path, value, f"{comment} {text}".strip())


def _walk(node: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        name = f"{path}.{key.value}" if path else key.value
        yield name, key.start_mark, value
        if not getattr(value, "flow_style", False):
            yield from _walk(value, name)


def _value(node: Any) -> str:
    """Source text of a value; empty for a block of further keys."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        lines = node.start_mark.buffer[node.start_mark.pointer : node.end_mark.pointer]
        return " ".join(lines.rstrip("\0").split())
    return ""


def _split(line: str) -> tuple[str, str]:
    """A line without its comment, and the comment."""
    found = re.search(r"(^|\s)#\s?(.*)$", line)
    return (line[: found.start()], found[2].strip()) if found else (line, "")


def _code(value: str) -> str:
    return f"`{value}`".replace("|", "\\|") if value else ""


def _cell(text: str) -> str:
    """Text for a cell; what Markdown would take for its own, outside of code, is written out."""
    parts = text.replace("|", "\\|").split("`")
    if len(parts) % 2:
        parts[::2] = [
            re.sub(r"<(?!br>)|[*\[{_]", lambda sign: f"&#{ord(sign[0])};", part)
            for part in parts[::2]
        ]
    return "`".join(parts)
