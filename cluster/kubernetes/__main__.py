"""`python -m cluster.kubernetes`: Kubernetes to try things on, until Ctrl-C."""

import sys

from .command import main

sys.exit(main())
