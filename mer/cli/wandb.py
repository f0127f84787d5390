"""`mer wandb report RUN ...`: a report at Weights & Biases over runs that were logged there."""

from pathlib import Path

from mer.cli.options import Parser, require_writable


def main(argv: list[str]) -> int:
    """Write the report as a file, with `--send` also to W&B.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer wandb", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="report")
    report = commands.add_parser("report", help="scores, curves, confusion matrices, samples")
    report.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run directories, or folders of them"
    )
    report.add_argument("--title", help="heading of the report; by default the names of the runs")
    report.add_argument(
        "--output", type=Path, metavar="FILE", help="by default report-wandb.json in the first RUN"
    )
    report.add_argument("--entity", help="user or team; by default that of the runs or the login")
    report.add_argument(
        "--send", action="store_true", help="save the report at W&B; needs `wandb login`"
    )
    arguments = parser.parse_args(argv)
    require_writable({"--output ": arguments.output}, {})
    from mer.loggers import wandb_report

    runs = wandb_report.read(arguments.runs)
    path = arguments.output or arguments.runs[0] / wandb_report.FILE
    wandb_report.write(wandb_report.make(runs, arguments.title), runs, path)
    print(path)
    sync = wandb_report.sync_command(runs)
    if arguments.send:
        entity = arguments.entity or runs[0].entity or wandb_report.default_entity()
        print(wandb_report.send(wandb_report.make(runs, arguments.title, entity)))
    elif sync:
        print(f"Send the runs: {sync}\nThen the report: the same command with --send")
    return 0
