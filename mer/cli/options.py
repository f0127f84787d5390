"""Options that several commands have."""

import argparse


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
