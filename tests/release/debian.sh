#!/bin/sh
# A newer Python than this machine's: that of another Debian release, in a root of its own.
#
#   debian.sh make ROOT SUITE      (needs root, debootstrap and apt's mirror)
#   debian.sh run ROOT SHARED COMMAND…
#
# `run` shows the directory SHARED under the same name inside, beside /proc and /dev. The mounts are
# those of a namespace that ends with the command.
set -eu
verb=$1
root=$2
case $verb in
make)
    mirror=$(apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^main //p' | grep -v security | head -1)
    mkdir -p "$(dirname "$root")"
    rm -rf "$root.made"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        "$3" "$root.made" "$mirror" >"$root.log" 2>&1 || {
        tail -20 "$root.log" >&2
        exit 1
    }
    rm -rf "$root.made"/var/cache/apt/archives/*.deb "$root"
    mv "$root.made" "$root"
    ;;
run)
    shared=$3
    shift 3
    # The certificates that this machine trusts may be more than Debian's.
    exec unshare --mount sh -euc '
        root=$1
        shared=$2
        shift 2
        mkdir -p "$root$shared"
        mount --rbind /proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind /etc/ssl/certs "$root/etc/ssl/certs"
        mount --bind "$shared" "$root$shared"
        cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
        exec chroot "$root" sh -c "cd \"\$1\" 2>/dev/null || cd /; shift; exec \"\$@\"" sh "$PWD" "$@"
    ' sh "$root" "$shared" "$@"
    ;;
esac
