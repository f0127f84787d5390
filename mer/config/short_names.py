"""Short names of dotted keys."""

from collections import Counter
from collections.abc import Sequence

#: Nodes whose keys are known by their last part: `lr` is the model's, `enabled` may be anything's.
_KNOWN = ("model", "model.optimizer", "model.transfer", "callbacks.svm_head")


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, where that is the key's alone and says enough; else the whole key.

    >>> list(short_names(["model.optimizer.lr", "model.dropout", "input.size"]).values())
    ['lr', 'dropout', 'input.size']
    """
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter(last.values())
    return {
        key: name if count[name] == 1 and key.rpartition(".")[0] in _KNOWN else key
        for key, name in last.items()
    }
