"""`python -m cluster.kubernetes`: a control plane for manual tests, until Ctrl-C."""

import sys

from .command import main

sys.exit(main())
