"""`python -m tfpriv`."""

import sys

from tfpriv.cli import main

sys.exit(main())
