"""`python -m pfpn` is `pfpn`."""

import sys

from pfpn.cli import main

if __name__ == "__main__":
    sys.exit(main())
