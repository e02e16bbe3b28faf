#!/bin/sh
# The classic pipeline, as separate processes: a broker, two producers of 20 items each (one every 0.5 to 1.5 s), and one
# consumer with 0.5 s of work an item. Uses ports and a data directory of its own; leaves neither behind, nor anything running.
# Variables: PRODUCERS (2), COUNT of items each (20), INTERVAL (500ms..1500ms), CONSUMERS (1), CONCURRENCY (1), WORK (500ms),
# BIN (target/release).
set -eu

BIN=${BIN:-target/release}
PRODUCERS=${PRODUCERS:-2}
COUNT=${COUNT:-20}
INTERVAL=${INTERVAL:-500ms..1500ms}
CONSUMERS=${CONSUMERS:-1}
CONCURRENCY=${CONCURRENCY:-1}
WORK=${WORK:-500ms}

scratch=$(mktemp -d)
pids=""
finish() {
    status=$?
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$BIN/baton-broker" --data "$scratch/data" --listen 127.0.0.1:0 --http 127.0.0.1:0 2>"$scratch/broker.log" &
pids="$!"
address=""
tries=0
while [ -z "$address" ]; do
    address=$(sed -n 's/.*grpc=\([0-9.:]*\).*/\1/p' "$scratch/broker.log")
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$pids" 2>/dev/null; then
        cat "$scratch/broker.log" >&2
        exit 1
    fi
    sleep 0.1
done
export BATON_BROKER="http://$address"
echo "broker on $address, $PRODUCERS producer(s) of $COUNT items, $CONSUMERS consumer(s) with $WORK of work an item"

consumers=""
n=0
while [ "$n" -lt "$CONSUMERS" ]; do
    "$BIN/baton-consumer" demo print --work "$WORK" --concurrency "$CONCURRENCY" --until-closed &
    consumers="$consumers $!"
    n=$((n + 1))
done
pids="$pids $consumers"

producers=""
n=0
while [ "$n" -lt "$PRODUCERS" ]; do
    "$BIN/baton-producer" demo generate --count "$COUNT" --interval "$INTERVAL" &
    producers="$producers $!"
    n=$((n + 1))
done
pids="$pids $producers"

for pid in $producers; do wait "$pid"; done
"$BIN/baton-producer" demo send --close --quiet </dev/null >/dev/null
for pid in $consumers; do wait "$pid"; done
