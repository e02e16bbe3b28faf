#!/usr/bin/env bash
# Starts and stops the servers that are compared: one process each, on loopback only.
#
#   peers.sh list              their names
#   peers.sh missing NAME      says what is missing, and how to get it; fails if nothing is
#   peers.sh start NAME        with an empty data directory
#   peers.sh restart NAME      on the data directory as it is (after `kill`)
#   peers.sh kill NAME         SIGKILL, and waits until the process is gone
#   peers.sh stop NAME         SIGTERM, waits, deletes the data directory
#   peers.sh args NAME         what baton-compare has to know of it, separated by NUL
#
# Environment: COMPARE_DIR   where data, logs and pid files go; not in RAM, as /tmp may be (default: target/compare)
#              PROGRAMS      folder with our own programs (default: target/release)
#              PEERS_BIN     folder that install.sh filled (default: .peers-compare)
#              BATON_ARGS    more arguments for Baton's broker
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
COMPARE_DIR=${COMPARE_DIR:-$root/target/compare}
PROGRAMS=${PROGRAMS:-$root/target/release}
PEERS_BIN=${PEERS_BIN:-$root/.peers-compare}
PEERS='floor-stream baton baton-memory redis-always redis-everysec nats-old nats-2.14 nats-2.14-sync nats-2.15
    nats-2.15-sync rabbitmq beanstalkd-f0 beanstalkd-f50'
RABBITMQ=/usr/lib/rabbitmq/bin/rabbitmq-server
# Debian's is there, whoever's PATH this is.
PATH=$PATH:/usr/sbin

command=${1:-}
name=${2:-}
home=$COMPARE_DIR/run/$name
data=$home/data
pid_file=$home/pid

# Whether a confirm comes after a sync, and what it means.
case $name in
    floor-stream)   driver=floor      port=17390 syncs=no  durability='nothing: the other process has read it' ;;
    baton)          driver=baton      port=17400 syncs=yes durability='fdatasynced, and so is each settle; shared by all that wait (group commit)' ;;
    baton-memory)   driver=baton      port=17410 syncs=no  durability='in memory: survives nothing' ;;
    redis-always)   driver=redis      port=17420 syncs=yes durability='fdatasynced once a turn of the event loop (group commit)' ;;
    redis-everysec) driver=redis      port=17421 syncs=no  durability='written to the page cache, fdatasync every second (default)' ;;
    nats-old)       driver=nats       port=17430 syncs=no  durability='written to the page cache, fsync every 2 min (fixed)' ;;
    nats-2.14)      driver=nats       port=17431 syncs=no  durability='written to the page cache, fsync every 2 min (default)' ;;
    nats-2.14-sync) driver=nats       port=17432 syncs=yes durability='fsynced (sync_interval: always)' ;;
    nats-2.15)      driver=nats       port=17433 syncs=no  durability='written to the page cache, fsync every 2 min (default)' ;;
    nats-2.15-sync) driver=nats       port=17434 syncs=yes durability='fsynced (sync_interval: always)' ;;
    rabbitmq)       driver=rabbitmq   port=17440 syncs=yes durability='quorum queue: Raft log fdatasynced, shared by all that wait' ;;
    beanstalkd-f0)  driver=beanstalkd port=17450 syncs=yes durability='binlog fsynced, one sync a command (-f0)' ;;
    beanstalkd-f50) driver=beanstalkd port=17451 syncs=no  durability='written to the page cache, fsync every 50 ms (default)' ;;
    '') ;;
    *) echo "no peer $name; there are: $PEERS" >&2; exit 2 ;;
esac

# What runs as this peer.
program() {
    case $name in
        floor-stream) echo "$PROGRAMS/baton-compare" ;;
        baton*)       echo "$PROGRAMS/baton-broker" ;;
        redis-*)      echo redis-server ;;
        nats-old)     echo nats-server ;;
        nats-2.14*)   echo "$PEERS_BIN/nats-server-2.14" ;;
        nats-2.15*)   echo "$PEERS_BIN/nats-server-2.15" ;;
        rabbitmq)     echo "$RABBITMQ" ;;
        beanstalkd-*) echo beanstalkd ;;
    esac
}

missing() {
    command -v "$(program)" >/dev/null && return 1
    echo "$name: no $(program); 'make bench-peers' installs it"
}

# In the background, on its own: it must not inherit a caller's lock file.
detached() {
    setsid "$@" >>"$home/log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
}

# The same, and leaves its pid in $pid_file.
launch() {
    detached "$@"
    echo $! >"$pid_file"
}

run_baton() {
    # shellcheck disable=SC2086 # several arguments
    launch "$(program)" --listen "127.0.0.1:$port" --http "127.0.0.1:$((port + 1))" --log error ${BATON_ARGS:-} "$@"
}

run_nats() {
    cat >"$home/nats.conf" <<CONF
listen: 127.0.0.1:$port
jetstream { store_dir: "$data", max_mem: 1G, max_file: 40G ${1:+, sync_interval: $1} }
CONF
    launch "$(program)" -c "$home/nats.conf"
}

run_rabbitmq() {
    export HOME=$home ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=17441
    export RABBITMQ_NODENAME=compare@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
    export RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=17442
    export RABBITMQ_MNESIA_BASE=$data RABBITMQ_LOG_BASE=$home/logs
    export RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins RABBITMQ_CONFIG_FILE=$home/rabbitmq
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    echo '[].' >"$home/enabled_plugins"
    : >"$home/rabbitmq.conf"
    # The name service, here so that its pid is known and it listens on loopback only.
    if ! alive "$home/epmd.pid"; then
        detached epmd
        echo $! >"$home/epmd.pid"
        sleep 0.3
    fi
    # The script is a shell that runs the virtual machine as its child: that one's pid is wanted.
    detached "$RABBITMQ"
    local parent=$! child=
    for _ in $(seq 100); do
        child=$(find_beam "$parent")
        [ -n "$child" ] && break
        sleep 0.05
    done
    echo "$child" >"$pid_file"
}

find_beam() {
    local pid=$1 next
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = beam.smp ] && { echo "$pid"; return; }
    for next in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do
        find_beam "$next"
    done
}

run() {
    mkdir -p "$data"
    case $name in
        floor-stream)   launch "$(program)" floor --listen "127.0.0.1:$port" ;;
        baton)          run_baton --data "$data" ;;
        baton-memory)   run_baton --memory ;;
        nats-*-sync)    run_nats always ;;
        nats-*)         run_nats ;;
        rabbitmq)       run_rabbitmq ;;
        beanstalkd-*)   launch beanstalkd -l 127.0.0.1 -p "$port" -b "$data" "-${name#beanstalkd-}" ;;
        redis-*)
            launch redis-server --bind 127.0.0.1 --port "$port" --dir "$data" --save '' \
                --appendonly yes --appendfsync "${name#redis-}" ;;
    esac
}

# Whether the process of a pid file still has a running thread (a zombie's threads may still hold its sockets and memory).
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
    grep -qs '^State:.[^Z]' "/proc/$pid/task/"*/status
}

# end SIGNAL PIDFILE: signals the process and waits; SIGKILL after 15 s.
end() {
    alive "$2" || { rm -f "$2"; return 0; }
    local pid i
    pid=$(cat "$2")
    kill "-$1" "$pid" 2>/dev/null || true
    for i in $(seq 1500); do
        alive "$2" || break
        [ "$i" = 1500 ] && kill -KILL "$pid"
        sleep 0.01
    done
    rm -f "$2"
}

case $command in
    list) for peer in $PEERS; do echo "$peer"; done ;;
    missing) missing ;;
    start)
        alive "$pid_file" && { echo "$name runs already" >&2; exit 1; }
        rm -rf "$home"
        run ;;
    restart) run ;;
    kill) end KILL "$pid_file" ;;
    stop)
        end TERM "$pid_file"
        end TERM "$home/epmd.pid"
        rm -rf "$data" ;;
    args)
        case $driver in
            baton | floor) url=http://127.0.0.1:$port ;;
            nats) url=nats://127.0.0.1:$port ;;
            rabbitmq) url=amqp://guest:guest@127.0.0.1:$port/%2f ;;
            redis) url=redis://127.0.0.1:$port/ ;;
            beanstalkd) url=127.0.0.1:$port ;;
        esac
        [ "$syncs" = yes ] && printf '%s\0' --syncs
        printf '%s\0' --driver "$driver" --url "$url" --peer "$name" \
            --durability "$durability" --pid-file "$pid_file" --data-dir "$data" ;;
    *) sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2 ;;
esac
