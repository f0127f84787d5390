"""Options that several commands have."""

import argparse
from pathlib import Path


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust PACKAGE`, which gives a list of names, empty by default."""
    parser.add_argument(
        "--trust",
        type=lambda text: text.replace(",", " ").split(),
        action="extend",
        default=[],
        metavar="PACKAGE",
        help="let the run's files name classes of this package (also PACKAGE,PACKAGE; MER_TRUST)",
    )


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--config-dir FOLDER`, None by default."""
    parser.add_argument(
        "--config-dir",
        "-cd",
        type=Path,
        metavar="FOLDER",
        help="folder with configuration files of your own, in groups as in conf/",
    )
