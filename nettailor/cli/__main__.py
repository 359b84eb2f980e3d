"""`python -m nettailor.cli VERB ...`."""

import sys

from nettailor.cli.main import main

sys.exit(main())
