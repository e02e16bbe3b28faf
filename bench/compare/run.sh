#!/usr/bin/env bash
# Compares everything that is installed, in rounds: each round measures every peer once, so that medians are of paired runs.
#
#   run.sh quick OUT.jsonl [PEER...]    the main cells, ROUNDS (3) rounds: some minutes
#   run.sh full  OUT.jsonl [PEER...]    all cells, ROUNDS (5) rounds, and 1 M items that wait: about an hour and a half
#
# Environment: ROUNDS, and what peers.sh takes
#              UNDER         put in front of each turn of a peer, as in UNDER='flock -o FILE', where others measure too
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export COMPARE_DIR=${COMPARE_DIR:-$here/../../target/compare}
export PROGRAMS=${PROGRAMS:-$here/../../target/release}
compare=$PROGRAMS/baton-compare
peers=$here/peers.sh
export RUST_BACKTRACE=0

# SUBCOMMAND ARGS...: a cell that fails is told, and the others go on.
cell() {
    local command=$1
    shift
    timeout 150 "$compare" "$command" --out "$out" "${target[@]}" "$@" >"$COMPARE_DIR/said" && return
    echo "FAILED: $peer: $command $*: $(tail -n 1 "$COMPARE_DIR/said")" >&2
}

throughput() {
    local e2e=
    # It keeps nothing.
    [ "$peer" = floor-stream ] && e2e=--e2e-only
    cell throughput --payload 1024 --window 256 --seconds 1.5 $e2e
    cell throughput --payload 1024 --window 4096 --seconds 1.5 $e2e
    cell throughput --payload 100 --window 256 --seconds 1.5 $e2e
    cell throughput --payload 100 --window 4096 --seconds 1.5 $e2e
    cell throughput --payload 16384 --window 256 --seconds 1.5 $e2e
    cell throughput --payload 1024 --window 1 --seconds 1 $e2e
}

latency() {
    local payload rate
    for payload in 1024 100; do
        for rate in 1000 10000; do
            cell latency --payload $payload --rate $rate --seconds 3 --warm-up 0.5 --window 4096
        done
    done
}

quick() {
    cell throughput --payload 1024 --window 256 --seconds 1 --e2e-only
    cell throughput --payload 1024 --window 4096 --seconds 1 --e2e-only
    cell latency --payload 1024 --rate 1000 --seconds 2 --warm-up 0.5 --window 4096
    cell latency --payload 1024 --rate 10000 --seconds 2 --warm-up 0.5 --window 4096
}

backlog() {
    [ "$peer" = floor-stream ] || [ "$peer" = baton-memory ] && return
    cell backlog --payload 1024 --items 1000000 --window 4096 --fill-seconds 20 \
        --kill "$peers kill $peer" --start "$peers restart $peer"
}

# PART OUT PEER: one turn of a peer.
turn() {
    local part=$1
    out=$2 peer=$3
    "$peers" start "$peer"
    # However this ends.
    trap '"$peers" stop "$peer"' EXIT
    mapfile -d '' target < <("$peers" args "$peer")
    if "$compare" ready "${target[@]}" >&2; then
        sync
        "$part"
    else
        echo "FAILED: $peer does not start; see $COMPARE_DIR/run/$peer/log" >&2
    fi
}

present() {
    local peer
    for peer in "$@"; do
        "$peers" missing "$peer" >&2 || echo "$peer"
    done
}

# PART OUT PEER...
round() {
    local part=$1 out=$2 peer
    shift 2
    for peer in "$@"; do
        echo "  $part: $peer" >&2
        ${UNDER:-} "$0" turn "$part" "$out" "$peer"
    done
}

mkdir -p "$COMPARE_DIR"
how=${1:-}
out=${2:-}
shift 2 || { sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2; }
case $how in
    turn) turn "$out" "$@"; exit ;;
    quick | full) ;;
    *) echo "no comparison $how" >&2; exit 2 ;;
esac
[ $# -gt 0 ] || mapfile -t all < <("$peers" list)
mapfile -t there < <(present "${@:-${all[@]}}")
rounds=${ROUNDS:-$([ "$how" = quick ] && echo 3 || echo 5)}
for number in $(seq "$rounds"); do
    echo "round $number of $rounds" >&2
    if [ "$how" = quick ]; then
        round quick "$out" "${there[@]}"
    else
        round throughput "$out" "${there[@]}"
        round latency "$out" "${there[@]}"
    fi
done
[ "$how" = full ] && round backlog "$out" "${there[@]}"
${UNDER:-} "$compare" machine --out "$out" --dir "$COMPARE_DIR" --seconds 0.5 --reps 3 >/dev/null
${UNDER:-} "$compare" disk-floor "$out" --dir "$COMPARE_DIR" >/dev/null
absent=$(for peer in "${@:-${all[@]}}"; do "$peers" missing "$peer" || true; done)
[ -z "$absent" ] || printf '\nNOT COMPARED:\n%s\n' "$absent" >&2
