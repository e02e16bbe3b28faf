#!/bin/sh
# Does an item cost the same however many queues, consumers and waiting items there are? Rates and CPU of each item, in turn.
#
#   flat.sh [DIR]      a folder for data, not in RAM as /tmp may be (default: target/baton-bench); up to 4 GB
#
# Environment: BENCH    the program (default: target/release/baton-bench)
#              RUNS     runs of each (default 5)
#              UNDER    put in front of each measurement, as in UNDER='flock -o FILE'
set -eu

bench=${BENCH:-target/release/baton-bench}
dir=${1:-target/baton-bench}
# 2000 clients have a connection each.
ulimit -n 8192

measure() {
    ${UNDER:-} "$bench" --dir "$dir" --runs "${RUNS:-5}" "$@"
}

echo "== queues: 1000 producers, 1000 consumers, 20k items/s of 1 KiB in all"
for queues in 1 10 100 1000; do
    measure throughput --payload 1024 --items 100000 --rate 20000 --producers 1000 --consumers 1000 --queues $queues --credit 100
done
echo "== queues, as fast as it goes: a window of 4096 and 4096 items of credit in all"
for queues in 1 10 100 1000; do
    measure throughput --payload 1024 --items 200000 --producers 1000 --consumers 1000 --queues $queues --window 4 --credit 4
done
echo "== consumers, as fast as it goes: 4 producers, 4096 items of credit in all"
for consumers in 1 8 64 512; do
    measure throughput --payload 1024 --items 400000 --consumers $consumers --credit $((4096 / consumers))
done
echo "== waiting items of 100 B, at full speed for 20 s"
for waiting in 1000000 10000000; do
    RUNS=1 measure steady --waiting $waiting --seconds 20 --payload 100
done
