"""Assembles the root filesystem of the container image, in the build stage of cluster/Dockerfile.

Takes only what a member needs at run time: the interpreter, the standard library and the installed
packages as bytecode, the shared libraries they load, a shell with some commands for people who
look into a container, and the licences of all of it. Two runs on the same inputs write the same
bytes, modes and times.

Needs nothing but the standard library, since it runs before anything is installed. The packages
are collected before the build, so that it needs no index and no compiler.

Files:
    rootfs    `python -m cluster.image.rootfs DIRECTORY`: selects, compiles and copies the files
    origins   the Debian packages that the copied files belong to
    sbom      the list of components (CycloneDX)
    wheels    `python -m cluster.image.wheels DIRECTORY`: the packages, for one platform
"""
