"""``python -m etalambda`` is ``etalambda``: for torchrun, and where no script is on the path."""

import sys

from etalambda.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
