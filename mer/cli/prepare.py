"""`mer prepare`: read every dataset of a configuration and write its prepared store."""

import logging

from mer.cli.options import Parser, add_config_dir, cache_to_make, require_writable

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Prepare with the same overrides as `mer train`, e.g. `data=megc2019 prepare.size=256`.

    Returns:
        Exit status 0.
    """
    parser = Parser(
        prog="mer prepare",
        description="Read every dataset of a configuration, find and align the faces, compute flow "
        "and write the prepared stores, which training reads. Words are those of `mer train`: "
        "data=megc2019 prepare.size=256; `mer train --help prepare` explains the keys.",
    )
    parser.add_argument("overrides", nargs="*", help="key=value, as for mer train")
    add_config_dir(parser)
    given = parser.parse_intermixed_args(argv)

    from rich.table import Table

    from mer.config.composition import compose, typed
    from mer.data import sources
    from mer.datasets.remarks import samples
    from mer.runs.terminal import console

    settings = typed(compose(given.overrides, config_dir=given.config_dir))
    require_writable({}, cache_to_make(settings.paths.cache))
    table = Table(title="Prepared stores", title_justify="left")
    for column in ("role", "dataset", "samples", "persons", "dropped", "mended"):
        table.add_column(column)
    sheets = []
    for role, found in sources.read(settings, "micro", "macro").items():
        for source in found:
            store, remarks = sources.prepare(settings, source)
            for remark in remarks:
                log.info("%s: %s %s: %s", source.name, remark.action, remark.item, remark.reason)
            persons = store.index["person"].nunique()
            dropped = samples(remarks, "dropped") + len(store.drops)
            counts = [len(store.index), persons, dropped, samples(remarks, "mended")]
            table.add_row(role, source.name, *map(str, counts))
            sheets.append(store.path / "contact_sheet.png")
    terminal = console()
    terminal.print(table)
    terminal.print("Look at the contact sheets:", *map(str, sheets), sep="\n  ", soft_wrap=True)
    return 0
