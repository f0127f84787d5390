"""`mer app [MODEL]`: a page on this machine; drop a clip or use the camera."""

import argparse
import threading

from mer.cli.options import Parser, add_trust
from mer.errors import raise_all


def main(argv: list[str]) -> int:
    """Serve the page until Ctrl-C.

    Returns:
        Exit status 0.
    """
    parser = Parser(prog="mer app", description=__doc__)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="run directory, .onnx file or shipped weights (default: mer:motion-xxs)",
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help="by default a free one from 7860 on"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_trust(parser)
    given = parser.parse_args(argv)

    from mer.deploy.clip_words import faults_of_model

    if given.model is not None:
        raise_all("the page cannot be opened:", faults_of_model(given.model))

    from mer.deploy.app import opened
    from mer.deploy.loading import SHIPPED, load

    with (
        load(given.model or SHIPPED, trust=given.trust) as model,
        opened(model, given.port, not given.no_browser) as address,
    ):
        print(f"{address} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return 0


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not 1 to 65535")
    return int(text)
