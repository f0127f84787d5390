"""What this user has made: a mark that needs a secret of this user's home folder.

Files of a run directory may come from somebody else. A mark over their content tells one's own from
those of others, wherever the directory has been since. Machines that share a home folder share the
secret.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from uuid import uuid4

#: Beside a marked file of a run directory.
FILE = ".made_here"

_BYTES = 32


def mark_of(content: bytes) -> str | None:
    """The mark of some content, 64 hexadecimal digits; None where no secret can be kept."""
    secret = _secret()
    return None if secret is None else hmac.new(secret, content, hashlib.sha256).hexdigest()


def is_mark(mark: str, content: bytes) -> bool:
    """Whether this user made that mark over that content."""
    own = mark_of(content)
    return own is not None and hmac.compare_digest(own.encode(), mark.encode())


def mark_file(path: Path) -> None:
    """Remember that this user made a file, or do nothing where no secret can be kept."""
    if (mark := mark_of(path.read_bytes())) is not None:
        path.with_name(FILE).write_text(mark)


def is_own(path: Path) -> bool:
    """Whether this user made a file, and nobody has changed it since."""
    try:
        return is_mark(path.with_name(FILE).read_text().strip(), path.read_bytes())
    except (OSError, UnicodeDecodeError):
        return False


def secret_path() -> Path:
    """Where the secret lies: `mer/secret` below XDG_STATE_HOME, by default `~/.local/state`."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home, "mer", "secret")


def _secret() -> bytes | None:
    """Read the secret, or make it; None where that is not possible."""
    path = secret_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = path.with_name(f".{uuid4().hex}")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(new, path)
            new.unlink()
        content = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    return content if len(content) == _BYTES else None
