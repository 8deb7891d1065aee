"""``python -m mjbulk``: the same as ``mjbulk``."""

import sys

from mjbulk.cli import main

if __name__ == "__main__":
    sys.exit(main())
