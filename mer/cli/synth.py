"""`mer synth`: write synthetic corpora in the folder layouts of the real datasets."""

from collections import Counter
from pathlib import Path

from mer.cli.options import require_writable
from mer.config.composition import compose
from mer.errors import MerError, when_stopped

USAGE = """\
usage: mer synth [preset=NAME] [out=FOLDER] [seed=N] [workers=N] [overwrite=true]

Writes look-alikes of CASME II, SAMM, SMIC, CK+, Oulu-CASIA and MUG below FOLDER: painted faces in
the layouts of the real datasets. What is complete is kept; the same command writes what is missing.

  preset=tiny      some clips: for tests (0.1 GB, seconds)
  preset=demo      149 micro clips, 252 macro sequences: for a first look (0.5 GB; the default)
  preset=megc2019  all 578 micro clips, of which MEGC2019 keeps 442, 493 macro sequences (1.8 GB,
                   some minutes)
  preset=long      long videos for `mer spot`: look-alikes of CAS(ME)^2 and SAMM long videos, 4
                   persons, 30 s each (0.2 GB, some minutes)
  out              default: data/synthetic/PRESET, where `mer train` looks for them
  seed             another number gives other faces and clips (default 0)
  workers          processes (default: all cores)
  overwrite        replace synthetic corpora of another preset, seed or version
"""


def main(argv: list[str]) -> int:
    """Run `mer synth`.

    Args:
        argv: Hydra-style overrides of `conf/synth.yaml`.

    Returns:
        0 when all corpora are there.

    Raises:
        MerError: If a key or value is unknown or a folder is in the way.
        KeyboardInterrupt: After Ctrl-C, saying what is kept.
    """
    if any(word in ("-h", "--help") for word in argv):
        print(USAGE, end="")
        return 0
    config = compose(argv, config_name="synth")
    _check_numbers(config.seed, config.workers)
    require_writable({}, {"out=": config.out})

    from mer.synthetic.corpora import generate
    from mer.synthetic.plan import plan
    from mer.synthetic.presets import PRESETS

    preset, seed = str(config.preset), config.seed
    if preset not in PRESETS and preset != "long":
        raise MerError(
            f"preset={preset}: there is no such preset; type one of {', '.join(PRESETS)}, long"
        )
    if preset == "long":
        _write_long(Path(config.out), seed, config.workers)
        return 0
    with when_stopped("Complete corpora are kept; the same command writes the missing ones."):
        roots = generate(preset, Path(config.out), seed, config.workers, bool(config.overwrite))
    counts = Counter(clip.dataset for clip in plan(preset, seed))
    for name, root in roots.items():
        print(f"{name:<11} {counts[name]:4d} clips  {root}")
    return 0


def _write_long(out: Path, seed: int, workers: int | None) -> None:
    from mer import processes
    from mer.synthetic.long_trees import ROOTS, write_long_videos

    count = processes.cores() if workers is None else workers
    for name in ROOTS:
        print(f"{name:<11} {write_long_videos(out, name, seed=seed, workers=count)}")


def _check_numbers(seed: object, workers: object) -> None:
    """Raise `MerError` unless the seed and the number of workers are whole numbers."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise MerError(f"seed={seed}: type a whole number.")
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool)):
        raise MerError(f"workers={workers}: type a whole number, or null for all cores.")
