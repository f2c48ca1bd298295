"""A client of the daemon in Python, generated from the published protos; see tests/tests/foreign.rs, which runs it.

Usage: client.py ADDRESS PROTO_DIR. It says `revoke LEASE` on standard output when an administrator is to revoke that
lease, and `done` when everything was as published. Anything else is told on standard error.
"""

import importlib
import queue
import sys
import tempfile
import uuid

import grpc
import grpc_tools
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

SESSIONS, SEATS = "I3_SESSION_CALL", 3
PATIENCE_S = 30


def generated(protos, out):
    """The modules that grpc_tools makes of the protos in `out`, as a vendor's build would."""
    files = ["leasehold/v1/leasing.proto", "leasehold/v1/administration.proto"]
    known = str(importlib.resources.files(grpc_tools) / "_proto")
    arguments = ["protoc", f"-I{protos}", f"-I{known}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    assert protoc.main(arguments) == 0, "the protos do not compile"
    sys.path.insert(0, out)
    module = "leasehold.v1.leasing_pb2"
    return importlib.import_module(module), importlib.import_module(f"{module}_grpc")


def equal(found, expected, what):
    assert found == expected, f"{what}: {found!r}, not {expected!r}"


def new_id():
    return uuid.uuid4().bytes


def details(error):
    """The details of a refusal, by their kind."""
    status = rpc_status.from_call(error)
    assert status is not None, f"a refusal without details: {error}"
    kinds = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.QuotaFailure, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                kinds[kind.__name__] = kind.FromString(packed.value)
    return kinds


def refused(call, *arguments):
    """The status and details of a call that is to be refused."""
    try:
        answer = call(*arguments, timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return error, details(error)
    raise AssertionError(f"not refused: {answer}")


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "leasehold.v1.Leasing", "leasehold.v1.Leasing/renew", "leasehold.v1.Leasing/grant"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
        equal(answer.status, health_pb2.HealthCheckResponse.SERVING, f"health of {service!r}")


def reflection(channel):
    served = ProtoReflectionDescriptorDatabase(channel)
    for service in ("leasehold.v1.Leasing", "leasehold.v1.Administration", "grpc.health.v1.Health"):
        assert service in served.get_services(), f"{service} is not reflected"
    leasing = DescriptorPool(served).FindServiceByName("leasehold.v1.Leasing")
    methods = sorted(method.name for method in leasing.methods)
    expected = "Acquire ActivationFiles Attach Entitlements Explain Release Renew SetIdle SignLeases SiteKeys".split()
    equal(methods, expected, "methods by reflection")


class Unary:
    """Everything without a stream."""

    def __init__(self, v1, leasing):
        self.v1, self.leasing = v1, leasing
        self.caller = v1.Caller(name="python-unary", application="foreign client", version="2020.2.1")

    def units(self, units, **more):
        subject = self.v1.ServerUnits(key=SESSIONS, units=units)
        return self.v1.AcquireRequest(request_id=new_id(), caller=self.caller, units=subject, **more)

    def acquire(self, request):
        return self.leasing.Acquire(request, timeout=PATIENCE_S).lease

    def release(self, *leases):
        request = self.v1.ReleaseRequest(request_id=new_id(), caller=self.caller, lease_ids=leases)
        outcomes = self.leasing.Release(request, timeout=PATIENCE_S).outcomes
        equal([outcome.HasField("refusal") for outcome in outcomes], [False] * len(leases), "releases refused")

    def run(self):
        v1 = self.v1
        asked = self.units(2)
        lease = self.acquire(asked)
        equal((lease.state, lease.keys[0].key, lease.keys[0].units), (v1.LEASE_STATE_LIVE, SESSIONS, 2), "units")
        equal(self.acquire(asked).lease_id, lease.lease_id, "the lease of the same request")

        logon = v1.UserLogon(user="agent-1", computer="pc-1")
        logged_on = self.acquire(v1.AcquireRequest(request_id=new_id(), caller=self.caller, logon=logon, ttl_ms=30_000))
        equal((logged_on.user, logged_on.computer, logged_on.ttl_ms), ("agent-1", "pc-1", 30_000), "a logon")
        assert "I3_ACCESS_CLIENT" in [key.key for key in logged_on.keys], logged_on
        assert logged_on.lease_id > lease.lease_id, "fencing numbers rise"

        self.refusals()
        self.questions()

        unknown = logged_on.lease_id + 1_000
        renewed = self.leasing.Renew(
            v1.RenewRequest(caller=self.caller, lease_ids=[lease.lease_id, unknown]), timeout=PATIENCE_S
        ).outcomes
        equal([outcome.refusal.reason for outcome in renewed], ["", "LEASE_UNKNOWN"], "renewals")

        self.release(lease.lease_id)
        self.release(lease.lease_id, logged_on.lease_id)
        ended = self.acquire(asked)
        equal((ended.lease_id, ended.state), (lease.lease_id, v1.LEASE_STATE_ENDED), "a released lease asked for again")

    def refusals(self):
        error, kinds = refused(self.leasing.Acquire, self.units(SEATS))
        equal(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, "the code of an exhausted pool")
        info = kinds["ErrorInfo"]
        equal((info.domain, info.reason), ("leasehold", "POOL_EXHAUSTED"), "why a pool is exhausted")
        equal(info.metadata["capacity"], str(SEATS), "the capacity as a fact")
        assert SESSIONS in kinds["QuotaFailure"].violations[0].subject, kinds["QuotaFailure"]
        assert error.details(), "a refusal without a sentence"

        error, kinds = refused(self.leasing.Acquire, self.units(0))
        equal(error.code(), grpc.StatusCode.INVALID_ARGUMENT, "no units")
        equal(kinds["ErrorInfo"].metadata["field"], "units.units", "the field at fault")

        changed = self.units(1)
        lease = self.acquire(changed)
        changed.units.units = 2
        error, kinds = refused(self.leasing.Acquire, changed)
        equal(kinds["ErrorInfo"].reason, "REQUEST_ID_REUSED", "a request ID used for something else")
        self.release(lease.lease_id)

    def questions(self):
        v1 = self.v1
        explained = self.leasing.Explain(v1.ExplainRequest(acquire=self.units(SEATS)), timeout=PATIENCE_S)
        equal(explained.would_refuse.reason, "POOL_EXHAUSTED", "an explained refusal")
        assert any(not step.passed for step in explained.steps), explained
        explained = self.leasing.Explain(v1.ExplainRequest(acquire=self.units(1)), timeout=PATIENCE_S)
        equal((explained.WhichOneof("decision"), explained.would_grant.lease_id), ("would_grant", 0), "an explained grant")

        question = v1.EntitlementsRequest(
            caller=self.caller,
            subjects=[v1.Subject(user="agent-1"), v1.Subject(user="agent-2"), v1.Subject(user="nobody")],
            keys=["I3_ACCESS_CLIENT"],
        )
        held = self.leasing.Entitlements(question, timeout=PATIENCE_S).subjects
        equal([subject.any_of for subject in held], [True, False, False], "who holds the key")
        equal(held[2].refusal.reason, "USER_UNKNOWN", "an unknown user")

        keys = self.leasing.SiteKeys(v1.SiteKeysRequest(caller=self.caller), timeout=PATIENCE_S).keys
        recorder = [key for key in keys if key.key == "I3_FEATURE_RECORDER"]
        equal([key.licensed for key in recorder], [True], "a feature of the site")


class Stream:
    """An attached stream: what it says goes through a queue, what it hears is read in order."""

    def __init__(self, v1, leasing):
        self.v1, self.said, self.arrived = v1, queue.Queue(), 0
        self.heard = leasing.Attach(iter(self.said.get, None), timeout=PATIENCE_S)
        caller = v1.Caller(name="python-stream", application="foreign client")
        self.say(hello=v1.Hello(caller=caller, run_id=new_id()))

    def say(self, **message):
        self.said.put(self.v1.AttachRequest(**message))

    def hear(self, kind):
        answer = next(self.heard)
        equal(answer.WhichOneof("message"), kind, "what came down the stream")
        self.arrived = max(self.arrived, answer.answer_number)
        return getattr(answer, kind), answer.answer_number

    def run(self):
        v1 = self.v1
        welcome, _ = self.hear("welcome")
        assert welcome.installation_id and welcome.beat_every_ms > 0, welcome

        asked = [new_id() for _ in range(SEATS)]
        for request in asked:
            units = v1.ServerUnits(key=SESSIONS, units=1)
            self.say(acquire=v1.AcquireRequest(request_id=request, units=units))
        leases, numbers = {}, []
        for _ in asked:
            answer, number = self.hear("acquired")
            leases[answer.request_id] = answer.lease.lease_id
            numbers.append(number)
        equal(sorted(leases), sorted(asked), "answered requests")
        equal(numbers, [1, 2, 3], "numbers of answers")

        one_more = v1.AcquireRequest(request_id=new_id(), units=v1.ServerUnits(key=SESSIONS, units=1))
        self.say(acquire=one_more)
        answer, number = self.hear("acquired")
        equal((answer.refusal.reason, number), ("POOL_EXHAUSTED", 0), "a refusal on the stream")

        self.say(beat=v1.Beat(number=7))
        beaten, _ = self.hear("beat")
        equal((beaten.number, beaten.renewed), (7, SEATS), "a beat")

        revoked = leases[asked[0]]
        print(f"revoke {revoked}", flush=True)
        event, _ = self.hear("event")
        ended = event.lease_ended
        equal((ended.lease_id, ended.reason), (revoked, "REVOKED"), "what a revoked holder is told")
        assert "for the test" in ended.message, ended.message

        # Pipelined: two releases, one of them by the request that took the lease, and what they make room for.
        self.say(release=v1.ReleaseRequest(request_id=new_id(), lease_ids=[leases[asked[1]]]))
        self.say(release=v1.ReleaseRequest(request_id=new_id(), acquire_request_ids=[asked[2]]))
        self.say(acquire=one_more)
        for _ in range(2):
            answer, number = self.hear("released")
            assert number > 0 and not answer.outcomes[0].HasField("refusal"), answer
        answer, _ = self.hear("acquired")
        self.say(release=v1.ReleaseRequest(request_id=new_id(), lease_ids=[answer.lease.lease_id]))
        self.hear("released")

        # A bare acknowledgement: the daemon may forget what it answered, and has once it has answered what came after.
        self.say(answers_received=self.arrived)
        self.say(beat=v1.Beat(number=8))
        self.hear("beat")
        self.say(release=v1.ReleaseRequest(request_id=new_id(), acquire_request_ids=[asked[2]]))
        answer, _ = self.hear("released")
        equal(answer.outcomes[0].refusal.reason, "REQUEST_UNKNOWN", "a request whose answer was acknowledged")
        # The end from this side.
        self.said.put(None)
        equal(list(self.heard), [], "what comes after the end")
        equal(self.heard.code(), grpc.StatusCode.OK, "how the stream ended")


def main():
    address, protos = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="leasehold-foreign-") as out:
        v1, services = generated(protos, out)
    with grpc.insecure_channel(address.removeprefix("http://")) as channel:
        health(channel)
        reflection(channel)
        leasing = services.LeasingStub(channel)
        Unary(v1, leasing).run()
        Stream(v1, leasing).run()
    print("done")


main()
