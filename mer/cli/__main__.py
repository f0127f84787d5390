"""`python -m mer.cli` does the same as `mer`."""

import sys

from mer.cli import main

if __name__ == "__main__":
    sys.exit(main())
