"""The console in a real browser, on a real cluster of three members (`make test-console`).

- `browser`: Chromium, limited to loopback, and pages that record what must not happen;
- `walk`: the pages of the console, and what a person sees or presses on them;
- `prefix_proxy`: a reverse proxy that serves a member below a path.

Pictures of every page are written to build/console/, to be looked at.
"""
