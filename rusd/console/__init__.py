"""The web console of a member: its files below /console/, and what they ask below /console/api/.

- `console.py` all of it, put together
- `files.py` the files of the folder `site/`, as pages
- `keys.py` pages: a level of the tree of keys (`levels.py` finds it), the changes of a key
- `read_only.py` what the console may call with `--console-read-only`
- `json_pages.py` who may see the pages below /console/api/, and their form
- `cluster.py` the pages `state` and `cluster`; `reports.py` what the other members say for them;
  `certificates.py` when certificates end; `backups.py` the state of the backups
- `recorder.py` what runs every few seconds: `samples.py` the rows of the last 15 minutes, of the
  `series.py` that `readings.py` makes of what the rooms count; `revision_times.py` when revisions
  were made

The page in the browser speaks the JSON gateway (`rusd/door/gateway/`) for keys, users and
everything else that etcd's API has.

Promises: a file is sent compressed, and only if the browser does not hold it; nothing outside the
folder is served; a page of the console loads nothing from elsewhere and runs no inline script.

Not here: what the browser does, which is in `site/`.
"""
