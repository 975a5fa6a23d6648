"""`python -m homeserver` is `hromada`."""

import sys

from homeserver.cli import main

sys.exit(main())
