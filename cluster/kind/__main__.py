"""`python -m cluster.kind`: a kind cluster on rusd."""

import sys

from .command import main

sys.exit(main())
