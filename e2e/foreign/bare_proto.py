"""A client in another language, made from nothing but the .proto files: unary Publish, Lease, Settle and Join.

Usage: bare_proto.py BROKER_BINARY. Starts brokers of its own, with each engine one, and needs grpcio-tools and grpcio-reflection.
"""

import pathlib
import socket
import subprocess
import sys
import tempfile

import grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]


def generate(into):
    """Generates the client's code and makes it importable."""
    protos = sorted(str(path) for path in (ROOT / "proto" / "baton").rglob("*.proto"))
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    flags = [f"-I{ROOT / 'proto'}", f"-I{include}", f"--python_out={into}", f"--grpc_python_out={into}"]
    assert protoc.main(["protoc", *flags, *protos]) == 0, "protoc refuses the contract"
    sys.path.insert(0, into)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(channel, durability):
    from baton.v1 import item_pb2 as item
    from baton.v1 import queue_service_pb2 as messages
    from baton.v1 import queue_service_pb2_grpc as services

    queues = services.QueueServiceStub(channel)
    items = [item.Item(payload=b"work %d" % n, attributes={"n": str(n)}) for n in range(3)]
    published = queues.Publish(messages.PublishRequest(queue="jobs", items=items), wait_for_ready=True, timeout=20)
    assert [result.item_id for result in published.results] == [1, 2, 3], published
    assert published.durability == item.Durability.Value(durability), published

    leased = queues.Lease(messages.LeaseRequest(queue="jobs", max_items=10, consumer="python")).items
    assert [delivery.item.payload for delivery in leased] == [b"work 0", b"work 1", b"work 2"], leased
    assert leased[2].item.attributes["n"] == "2" and leased[0].attempt == 1, leased

    settles = [messages.LeaseSettle(lease=delivery.lease, ack=messages.Ack()) for delivery in leased]
    settled = queues.Settle(messages.SettleRequest(queue="jobs", settles=settles))
    assert list(settled.outcomes) == [messages.SETTLE_OUTCOME_OK] * 3, settled
    again = queues.Settle(messages.SettleRequest(queue="jobs", settles=settles))
    assert list(again.outcomes) == [messages.SETTLE_OUTCOME_ALREADY_SETTLED] * 3, again

    joined = queues.Join(messages.JoinRequest(queue="jobs"))
    assert joined.done and joined.acked == 3, joined

    try:
        queues.Publish(messages.PublishRequest(queue="no such name", items=items))
        raise AssertionError("a bad name was taken")
    except grpc.RpcError as refused:
        assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT, refused
        assert "is no queue name" in refused.details(), refused

    names = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"baton.v1.QueueService", "baton.v1.AdminService", "grpc.health.v1.Health"} <= set(names), names


def run(binary, engine, durability):
    """Starts a broker, checks it, and stops it."""
    address = f"127.0.0.1:{free_port()}"
    broker = subprocess.Popen([binary, *engine, "--log", "error", "--listen", address, "--http", "127.0.0.1:0"])
    try:
        with grpc.insecure_channel(address) as channel:
            check(channel, durability)
    finally:
        broker.terminate()
        assert broker.wait(timeout=20) == 0, "the broker did not stop cleanly"


def main():
    with tempfile.TemporaryDirectory() as scratch:
        generated = pathlib.Path(scratch, "generated")
        generated.mkdir()
        generate(str(generated))
        run(sys.argv[1], ["--memory"], "DURABILITY_MEMORY")
        run(sys.argv[1], ["--data", str(pathlib.Path(scratch, "data"))], "DURABILITY_FSYNCED")
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
