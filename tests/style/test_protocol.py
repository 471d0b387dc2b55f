"""Every RPC says who may call it, whose object it touches, its quota, and whether it is audited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from vaccel.errors import Internal
from vaccel.rpc.rules import SERVICES, all_rules, rules_of

PROTO = Path(__file__).parents[2] / "proto/vaccel/v1"


def declared() -> set[str]:
    """Service/Method of every service but the private link to workers, from the text itself."""
    found = set()
    for path in PROTO.glob("*.proto"):
        for service, body in re.findall(r"service (\w+) \{(.*?)\n\}", path.read_text(), re.DOTALL):
            found |= {f"{service}/{method}" for method in re.findall(r"\brpc (\w+)", body)}
    return found


def test_every_method_has_a_rule():
    assert set(all_rules()) == declared()


def test_what_changes_something_is_audited_or_counted():
    for rule in all_rules().values():
        if re.match(r".*/(Create|Destroy|Attach|Detach|Start|Stop|Exec|Build)", rule.method):
            assert rule.audit or rule.quota != "none", rule.method


def test_a_method_without_a_rule_stops_the_server():
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare")
    file.message_type.add(name="Empty")
    file.service.add(name="Bare").method.add(
        name="Touch", input_type=".bare.Empty", output_type=".bare.Empty"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(Internal, match="rpc Bare/Touch declares no role"):
        rules_of(pool.FindServiceByName("bare.Bare"))


def test_the_services_are_all_there():
    assert {method.split("/")[0] for method in declared()} == set(SERVICES)
