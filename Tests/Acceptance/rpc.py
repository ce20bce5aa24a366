"""A client in Python: grpcio, with messages generated from Proto/ by protoc."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import grpc

from harness import ROOT, Failure, wait_for

_generated = tempfile.mkdtemp(prefix="flotilla-proto-")
subprocess.run(
    ["protoc", "-I" + os.path.join(ROOT, "Proto"), "--python_out=" + _generated,
     *(os.path.join(ROOT, f"Proto/flotilla/v1/{name}.proto") for name in ("kv", "controller", "peer"))], check=True)
sys.path.insert(0, _generated)
from flotilla.v1 import controller_pb2, kv_pb2, peer_pb2  # noqa: E402, F401

sys.path.pop(0)
shutil.rmtree(_generated)


class Refused(Exception):
    """The node answered with an error, or not at all."""


class Session:
    def __init__(self):
        self.token = os.urandom(16)
        self.end = int(time.time() * 1000) + 3600 * 1000


def unary(address, method, request, answer, timeout=10):
    """Any call: `method` as in "Controller/Join". Raises Refused with the server's sentence."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/flotilla.v1.{method}", request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString)
        try:
            return call(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Refused(f"{error.code().name}: {error.details()}") from error


class Kv:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.call = self.channel.unary_unary(
            "/flotilla.v1.Kv/Call", request_serializer=kv_pb2.Request.SerializeToString,
            response_deserializer=kv_pb2.Response.FromString)

    def _call(self, request, timeout=10):
        try:
            return self.call(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Refused(error.details()) from error

    def get(self, key):
        result = self._call(kv_pb2.Request(get=kv_pb2.Get(key=key))).get
        return result.value if result.found else None

    def get_later(self, key, timeout):
        """Sends now; the function that it returns waits for the answer (None: refused)."""
        future = self.call.future(kv_pb2.Request(get=kv_pb2.Get(key=key)), timeout=timeout)

        def answer():
            try:
                return future.result().get.value
            except grpc.RpcError:
                return None
        return answer

    def put(self, key, value, session, sequence):
        self._call(kv_pb2.Request(
            put=kv_pb2.Put(key=key, value=value), session=session.token, session_end_ms=session.end,
            sequence=sequence, lowest_unanswered=sequence))

    def append(self, key, value, session, sequence, lowest=1):
        return self._call(kv_pb2.Request(
            append=kv_pb2.Append(key=key, value=value), session=session.token, session_end_ms=session.end,
            sequence=sequence, lowest_unanswered=lowest)).append.length


def append_at_leader(cluster, gid, key, value, session, sequence, lowest=1):
    def attempt():
        try:
            return Kv(cluster.leader(gid).address).append(key, value, session, sequence, lowest)
        except Refused as refusal:
            raise Failure(str(refusal)) from refusal
    return wait_for("an answer to the append", attempt, 60)
