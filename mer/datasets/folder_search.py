"""Finding the folders of a dataset below a root, whatever the archives were unpacked into.

Zips of these datasets nest their top folder twice, once or not at all, and raw and cropped copies
lie side by side; a reader says what its subject folders look like and this module finds them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mer.datasets.index import Remark
from mer.errors import MerError

#: Folder levels below the root that are looked through for subject folders.
DEPTH = 5


def folders(path: Path) -> list[Path]:
    """Return the folders directly in `path`, sorted by name, without hidden ones and `__MACOSX`."""
    return sorted(
        child
        for child in path.iterdir()
        if child.is_dir() and not child.name.startswith((".", "__MACOSX"))
    )


def find_trees(root: Path, is_subject: Callable[[Path], bool], depth: int = DEPTH) -> list[Path]:
    """Return every folder at or below `root` that holds at least one subject folder.

    Args:
        root: Folder to search.
        is_subject: Tells a subject's folder by its name or content; it is not descended into.
        depth: Levels below `root` that may be looked through.
    """
    return list(_search(root, is_subject, depth))


def _search(path: Path, is_subject: Callable[[Path], bool], depth: int) -> Iterator[Path]:
    subjects: list[Path] = []
    others: list[Path] = []
    for child in folders(path):
        (subjects if is_subject(child) else others).append(child)
    if subjects:
        yield path
    if depth > 0:
        for child in others:
            yield from _search(child, is_subject, depth - 1)


def _kind(path: Path) -> str:
    """Tell from a path, the nearest name first, whether it holds `raw` or `cropped` pictures."""
    for name in reversed(path.as_posix().lower().split("/")):
        if "crop" in name or "preprocess" in name:
            return "cropped"
        if "raw" in name or "original" in name:
            return "raw"
    return ""


def choose_tree(
    key: str, trees: list[Path], root: Path, tree: str | None
) -> tuple[Path, list[Remark]]:
    """Choose among the trees found, the raw one first, and say which were left.

    Args:
        key: The dataset's place in the configuration, such as `data.micro.casme2`, for messages.
        trees: Trees of `find_trees`, at least one.
        root: The dataset's root.
        tree: `raw`, `cropped`, or `None` for raw if there, else cropped.

    Returns:
        The tree and a remark where others of its kind were left out. Of several the one with most
        subject folders is taken, then one named `selected` (CASME II: trimmed clips), then by name.

    Raises:
        MerError: If `tree` is another word or no tree of this kind is there.
    """
    if tree not in (None, "raw", "cropped"):
        raise MerError(f"`{key}.tree={tree}` is not one of raw, cropped")
    below = {found: _kind(found.relative_to(root)) for found in trees}
    # The root's own name counts only where no name below it tells the trees apart.
    default = "raw" if any(below.values()) else _kind(Path(root.name)) or "raw"
    kinds: dict[str, list[Path]] = {"raw": [], "cropped": []}
    for found, kind in below.items():
        kinds[kind or default].append(found)
    wanted = tree or ("raw" if kinds["raw"] else "cropped")
    if not kinds[wanted]:
        there = ", ".join(str(found) for found in trees)
        other = "raw" if wanted == "cropped" else "cropped"
        raise MerError(
            f"`{key}.tree={wanted}` is asked for, but only the {other} tree is there: {there}. "
            f"Set `{key}.tree={other}`, or unpack the {wanted} archive below {root}"
        )

    def rank(found: Path) -> tuple[int, bool, str]:
        return (-len(folders(found)), "select" not in str(found).lower(), str(found))

    best, *rest = sorted(kinds[wanted], key=rank)
    remarks = [
        Remark(
            str(other),
            "ignored",
            f"a second {wanted} tree, {best} is read; set `root` to choose",
            0,
        )
        for other in rest
    ]
    return best, remarks


def check_root(key: str, root: Path, expected: str) -> None:
    """Make sure that the root is a folder.

    Raises:
        MerError: If it is not, with the nearest folder that does exist and the expected tree.
    """
    if root.is_dir():
        return
    if root.exists():
        raise MerError(f"`{key}.root`: {root} is a file, expected is a folder:\n{expected}")
    parent = next((folder for folder in root.absolute().parents if folder.is_dir()), Path("/"))
    raise MerError(
        f"`{key}.root`: {root} does not exist ({parent} holds {listing(parent)}). "
        f"Set `{key}.root` to the folder of this tree:\n{expected}"
    )


def not_found(key: str, root: Path, what: str, expected: str) -> str:
    """Compose one problem sentence: what was looked for, what is there instead, what to do."""
    return (
        f"no {what} in {root} (which holds {listing(root)}). Set `{key}.root` to the folder of "
        f"this tree:\n{expected}"
    )


def listing(folder: Path, most: int = 8) -> str:
    """Return the first names in a folder as text, for messages."""
    names = sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
    if not names:
        return "nothing"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
