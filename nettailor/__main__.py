"""`python -m nettailor VERB ...`, where the command `nettailor` is not on the path."""

import sys

from nettailor.cli.main import main

sys.exit(main())
