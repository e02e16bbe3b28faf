#!/bin/sh
# Does an item cost the same however many queues, consumers and waiting items there are? Rates and CPU of each item, in turn.
#
#   flat.sh [PART...]      queues, busy-queues, consumers, waiting (default: all)
#
# Environment: BENCH    the program (default: target/release/baton-bench)
#              DIR      a folder for data, not in RAM as /tmp may be (default: target/baton-bench); up to 4 GB
#              RUNS     runs of each (default 5)
#              UNDER    put in front of each part, as in UNDER='flock -o FILE', where others measure too
set -eu

measure() {
    "${BENCH:-target/release/baton-bench}" --dir "${DIR:-target/baton-bench}" --runs "${RUNS:-5}" "$@"
}

# 1000 producers and 1000 consumers whatever the number of queues is, so that nothing else differs.
queues() {
    for queues in 1 10 100 1000; do
        measure throughput --payload 1024 --items 80000 --rate 20000 --producers 1000 --consumers 1000 --queues $queues --credit 100
    done
}

# The same as fast as it goes, with 4000 unconfirmed items and credit for 4000.
busy_queues() {
    for queues in 1 10 100 1000; do
        measure throughput --payload 1024 --items 200000 --producers 1000 --consumers 1000 --queues $queues --window 4 --credit 4
    done
}

# As fast as it goes, with credit for 4096.
consumers() {
    for consumers in 1 8 64 512; do
        measure throughput --payload 1024 --items 400000 --consumers $consumers --credit $((4096 / consumers))
    done
}

# At full speed for 20 s, with so many items in front.
waiting() {
    for waiting in 1000000 10000000; do
        RUNS=1 measure steady --waiting $waiting --seconds 20 --payload 100
    done
}

# 2000 clients have a connection each.
ulimit -n 8192
[ "${FLAT_TURN:-}" = "" ] || { "$FLAT_TURN"; exit; }
[ $# -gt 0 ] || set -- queues busy-queues consumers waiting
for part in "$@"; do
    echo "== $part"
    export FLAT_TURN
    FLAT_TURN=$(echo "$part" | tr - _)
    ${UNDER:-} sh "$0"
done
