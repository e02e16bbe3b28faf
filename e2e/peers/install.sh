#!/bin/sh
# Installs the programs of `make test-traces` into a folder, of which nothing outside is changed: no root is needed.
#
#   install.sh FOLDER      empties it first; then they are in FOLDER/bin
#
# They are software that nobody here wrote: two from Python's package index, which have an environment of their own (they and
# grpcio-tools want different versions of protobuf), and Debian's Prometheus. Done again only when a version changes.
set -eu

folder=$1
here=$(dirname "$0")

fail() {
    echo "make peers: $1" >&2
    exit 1
}

install_from_python() {
    python3 -m venv "$folder/venv" || fail "no virtual environment: install python3-venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" ||
        fail "the package index does not give what $here/requirements.txt says"
    ln -s ../venv/bin/ddapm-test-agent "$folder/bin/ddapm-test-agent"
    # The wheel holds it outside of the folder for programs.
    set -- "$folder"/venv/lib/python3*/site-packages/rotel/rotel-agent
    [ -x "$1" ] || fail "rotel's wheel has no rotel-agent for this machine"
    ln -s "../${1#"$folder"/}" "$folder/bin/rotel-agent"
}

# With lists of its own: the system's may be absent or old.
install_from_debian() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
        fail "no apt-get: put prometheus and promtool (2.42 or later) on PATH"
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    set -- -qq -o "Dir::State::lists=$PWD/$folder/apt/lists" -o "Dir::Cache=$PWD/$folder/apt" -o "APT::Sandbox::User="
    apt-get "$@" update || fail "Debian's package lists cannot be fetched"
    (cd "$folder/apt" && apt-get "$@" download prometheus) || fail "Debian's prometheus cannot be fetched"
    dpkg -x "$folder"/apt/prometheus_*.deb "$folder/apt/files"
    mv "$folder/apt/files/usr/bin/prometheus" "$folder/apt/files/usr/bin/promtool" "$folder/bin"
    rm -rf "$folder/apt"
}

rm -rf "$folder"
mkdir -p "$folder/bin"
install_from_python
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    ln -s "$(command -v prometheus)" "$(command -v promtool)" "$folder/bin"
else
    install_from_debian
fi
for program in ddapm-test-agent rotel-agent prometheus promtool; do
    "$folder/bin/$program" --version >"$folder/said" 2>&1 ||
        fail "$program does not run: $(cat "$folder/said")"
done
rm "$folder/said"
