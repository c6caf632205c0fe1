"""What is published: wheel and sdist, the Pythons they install on, the way from what was before.

Files:
    build           wheel and sdist of a revision, the same bytes wherever they are built
    pythons         Pythons of this machine, and newer ones of Debian in a root of their own
    debian.sh       such a root, and a command in it
    environments    a clean virtual environment with rusd, and commands in it
    previous        an earlier revision as a command
"""
