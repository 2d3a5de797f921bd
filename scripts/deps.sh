#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# deps.sh build|demo|package|test…: installs the Debian packages that are missing for it, nothing
# else, and never at the cost of one that is there (a mail server, say).
set -eu

BUILD="gcc libc6-dev make pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev
       libnl-3-dev libnl-route-3-dev libmicrohttpd-dev libjansson-dev libsqlite3-dev
       libsystemd-dev libinih-dev libseccomp-dev libcap-dev libncurses-dev
       libexpat1-dev"
DEMO="python3 iproute2 ethtool curl postfix swaks"
PACKAGE="build-essential debhelper dpkg-dev fakeroot"
TEST="$DEMO $PACKAGE lintian systemd jq python3-yaml python3-jsonschema util-linux prometheus passwd libcmocka-dev python3-scapy clang-format cppcheck shellcheck
      pyflakes3 libclang-rt-14-dev qemu-system-x86 busybox-static debootstrap valgrind binutils tmux zsh bash-completion libvirt-daemon libvirt-clients"

wanted=
for set in "${@:-build}"; do
    case $set in
    build) wanted="$wanted $BUILD" ;;
    demo) wanted="$wanted $DEMO" ;;
    package) wanted="$wanted $PACKAGE" ;;
    test) wanted="$wanted $TEST" ;;
    *)
        echo "deps.sh: not a set of packages: $set (build, demo, package, test)" >&2
        exit 2
        ;;
    esac
done

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
if [ "$(id -u)" -ne 0 ]; then
    echo "deps.sh: run it as root, or install yourself:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
case $missing in
*postfix*)
    # Only its programs are wanted: without a configuration it is not started.
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    ;;
esac
# Other users of the package lock are waited for.
options="-qq -o DPkg::Lock::Timeout=120"
# shellcheck disable=SC2086 # words are meant
if ! apt-get $options install -y --no-install-recommends --no-remove $missing </dev/null; then
    apt-get $options update </dev/null
    # shellcheck disable=SC2086
    apt-get $options install -y --no-install-recommends --no-remove $missing </dev/null || {
        echo "deps.sh: apt-get could not install$missing without removing another package" \
            "(a mail server other than Postfix?); nothing was removed" >&2
        exit 1
    }
fi
