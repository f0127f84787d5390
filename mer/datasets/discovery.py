"""Datasets found under `MER_DATA`: folders are recognised by how people usually name them."""

import re
from pathlib import Path

#: Reader name -> beginnings of usual folder names: lower case, letters, digits and `+` only.
FOLDERS: dict[str, tuple[str, ...]] = {
    "casme2": ("casme2", "casmeii"),
    "samm": ("samm",),
    "smic": ("smic",),
    "ckplus": ("ckplus", "ck+", "cohnkanade"),
    "ck48": ("ck48", "ck+48", "ckplus48"),
    "oulu_casia": ("oulucasia", "oulu"),
    "mug": ("mug",),
}


def discover(root: Path) -> dict[str, Path | str]:
    """Look for the folder of each dataset directly under `root`.

    Names are compared without case, blanks, hyphens and underscores, so that `CASME II`,
    `CASME2-RAW` and `casme2` all count. Of several folders that fit one dataset, the shortest name
    is taken.

    Args:
        root: The folder that holds one folder per dataset.

    Returns:
        For each dataset its folder, or a sentence saying that it was not found and which name to
        give the folder.
    """
    if not root.is_dir():
        return {name: f"{root} is not a folder" for name in FOLDERS}
    folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: (len(p.name), p.name))
    owners = {folder: _dataset(folder.name) for folder in folders}
    found: dict[str, Path | str] = {}
    for name in FOLDERS:
        own = [folder for folder, owner in owners.items() if owner == name]
        found[name] = own[0] if own else f"no folder {name} in {root}"
    return found


def _dataset(folder: str) -> str | None:
    """Return the dataset whose usual name `folder` begins with; the longest beginning decides."""
    plain = re.sub(r"[^a-z0-9+]", "", folder.lower())
    fitting = [
        (len(start), name)
        for name, starts in FOLDERS.items()
        for start in starts
        if plain.startswith(start)
    ]
    return max(fitting)[1] if fitting else None
