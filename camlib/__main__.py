"""`python -m camlib` is the command `camlib`."""

import sys

from camlib.cli import main

sys.exit(main())
