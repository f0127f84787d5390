"""`mer train --help [TOPIC...]`: groups and examples, or what the files of `conf/` say of a key."""

import difflib
import re
from pathlib import Path

from mer.cli.completion import keys
from mer.config.catalogue import summarise
from mer.config.composition import conf_dir, config_folders
from mer.config.hydra_options import split_config_dir
from mer.errors import MerError

EXAMPLES = """\
Examples:
  mer train                                       on synthetic data, which it makes
  mer train data=megc2019 backbone=resnet18       other choices of groups
  mer train model.epochs=10 seed=1                other values of keys
  mer train -m seed=0,1,2                         several runs, and one table
  mer train -m backbone='glob(mobilevit*)' protocol.validation=0.2
  mer train -m search=mobilevit_tpe               a search by Optuna: docs/sweeps.md
  mer train run.dir=DIR                           start it again, and it goes on
"""

OPTIONS = """\
Options:
  -m, --multirun      go through sweeps (a,b  choice  range  glob), or search (interval)
  --test              show test scores while something is being chosen
  --config-dir FOLDER your own files, in groups as in conf/
  --trust PACKAGE     let files name classes of this package
  --cfg job           print the configuration, and train nothing
  --help TOPIC        explain a group or key: --help backbone, --help model.optimizer
"""


def main(argv: list[str]) -> int:
    """Print the help of `mer train`, or of the groups and keys that are named.

    Raises:
        MerError: If there is no such group or key.
    """
    words, config_dir = split_config_dir(argv)
    topics = [word for word in words if not word.startswith("-")]
    folders = config_folders(config_dir)
    print("\n\n".join(explain(topic, folders) for topic in topics) if topics else overview(folders))
    return 0


def overview(folders: list[Path]) -> str:
    """Usage, examples, and one line for each group."""
    said = group_lines(conf_dir())
    width = max(map(len, said))
    lines = []
    for group, (default, comment) in said.items():
        others = [name for name in choices(group, folders) if name != default]
        lines.append(f"  {group:<{width}}  {comment}: {_brief([default, *others])}")
    usage = "usage: mer train [GROUP=NAME] [KEY=VALUE] [-m] [--config-dir FOLDER] [--help TOPIC]"
    return "\n".join(
        [
            usage,
            "",
            "Pretrains on macro-expressions, fine-tunes and tests every fold of a protocol, and",
            "scores the pooled predictions. A run that was stopped goes on in its run.dir.",
            "",
            EXAMPLES,
            OPTIONS,
            "Groups (the first name is the default; `mer list` says what each one is):",
            *lines,
            "",
            "README.md and docs/ tell more; `mer train --hydra-help` lists Hydra's own options.",
        ]
    )


def _brief(names: list[str]) -> str:
    """Some names, and how many more there are."""
    shown = [name for name in names if name != "null"]
    return ", ".join(shown[:4]) + (f", and {len(shown) - 4} more" if len(shown) > 5 else "")


def group_lines(folder: Path) -> dict[str, tuple[str, str]]:
    """Group -> its default and the comment beside it in `train.yaml`."""
    text = (folder / "train.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^  - (\w+): (\S+) +# (.+)$", text, flags=re.MULTILINE)
    return {group: (name, re.split(r"[:?] ", comment)[0]) for group, name, comment in found}


def choices(group: str, folders: list[Path]) -> list[str]:
    """Names of the files of a group."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def explain(topic: str, folders: list[Path]) -> str:
    """What the files of the configuration say of a group or key.

    Raises:
        MerError: If there is none of that name.
    """
    parts, texts = topic.strip("/.").replace("/", ".").split("."), []
    group = parts[0]
    if len(parts) == 1 and (names := choices(group, folders)):
        summaries = [(name, summarise(_file(group, name, folders))) for name in names]
        width = max(map(len, names))
        lines = [f"  {group}={name:<{width}}  {summary}" for name, summary in summaries]
        texts.append("\n".join([f"{group}: one of", *lines]))
    default = group_lines(conf_dir()).get(group, ("", ""))[0]
    sources = {"train.yaml": parts, f"{group}/{default}.yaml": parts[1:]}
    if group in ("search", "hydra"):
        sources["search/optuna.yaml"] = parts  # what all searches share
    for name, inner in sources.items():
        path = conf_dir() / name
        if path.exists() and (block := _block(path.read_text(encoding="utf-8"), inner)):
            texts.append(f"Keys of {topic}, in conf/{name}:\n\n{block}")
    if not texts:
        close = difflib.get_close_matches(topic, list(flat(keys())), n=3, cutoff=0.4)
        raise MerError(
            f"mer train --help {topic}: no such group or key; closest: {', '.join(close)}"
        )
    return "\n\n".join(texts)


def _file(group: str, name: str, folders: list[Path]) -> Path:
    """The file of a choice; the user's own goes first."""
    paths = [folder / group / f"{name}.yaml" for folder in reversed(folders)]
    return next((path for path in paths if path.exists()), paths[-1])


def _block(text: str, parts: list[str]) -> str:
    """The lines of a key in a YAML file, comments before it and all keys below it included."""
    lines = text.splitlines()
    for part in parts:
        pattern = re.compile(rf"( *){re.escape(part)}:")
        depth = min((_indent(line) for line in lines if _is_key(line)), default=0)
        starts = [
            n for n, line in enumerate(lines) if (m := pattern.match(line)) and len(m[1]) == depth
        ]
        if not starts:
            return ""
        end = next(
            (
                n
                for n in range(starts[0] + 1, len(lines))
                if _is_key(lines[n]) and _indent(lines[n]) <= depth
            ),
            len(lines),
        )
        start = starts[0]
        while start and lines[start - 1].lstrip().startswith("#") and part == parts[-1]:
            start -= 1
        while end > starts[0] + 1 and not _is_key(lines[end - 1]):
            end -= 1
        lines = lines[start:end] if part == parts[-1] else lines[starts[0] + 1 : end]
    kept = [line for line in lines if not line.startswith("# @package")]
    depth = min((_indent(line) for line in kept if line.strip()), default=0)
    return "\n".join(f"  {line[depth:]}".rstrip() for line in kept)


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def flat(node: dict[str, object], start: str = "") -> list[str]:
    """Every dotted key of a tree."""
    found = []
    for key, value in node.items():
        found.append(f"{start}{key}")
        if isinstance(value, dict):
            found += flat(value, f"{start}{key}.")
    return found
