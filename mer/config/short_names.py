"""Short names of dotted keys."""

from collections import Counter
from collections.abc import Sequence


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its shortest tail that no other key ends with.

    >>> list(short_names(["model.optimizer.lr", "model.dropout"]).values())
    ['lr', 'dropout']
    """
    tails = {key: [key.split(".", n)[-1] for n in range(key.count("."), -1, -1)] for key in keys}
    ends = Counter(tail for own in tails.values() for tail in own)
    return {key: next((t for t in own if ends[t] == 1), key) for key, own in tails.items()}
