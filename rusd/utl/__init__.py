"""utl: the command `rusdutl`, etcdutl's counterpart, which works on files and directories.

Files:
    command     arguments, exit codes
    download    the snapshot of a running member
    completion  scripts for shells
    database    facts about a file: its hash, its revision, its keys
    defrag      defragmentation of a stopped member's data
    progress    a bar for work that takes long
    printing    etcdutl's forms of output

Verbs, flags and forms of output are etcdutl's where there is one. No member may run on the
directories that are given; a file is only read.
"""
