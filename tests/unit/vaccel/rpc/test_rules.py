"""A method that does not declare all of its rule stops the daemon."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from vaccel.errors import Internal
from vaccel.rpc import rules
from vaccel.rpc.service import add_service
from vaccel.v1 import options_pb2

WHOLE = {
    "role": options_pb2.ROLE_TENANT,
    "owner_field": "vf",
    "quota": options_pb2.QUOTA_NONE,
    "audit": options_pb2.AUDIT_NONE,
}


def service(**rule: Any) -> Any:
    """A service with one method and that rule, made on the fly."""
    pool = descriptor_pool.DescriptorPool()
    for name in ("google/protobuf/descriptor.proto", "vaccel/v1/options.proto"):
        known = descriptor_pb2.FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(name).CopyToProto(known)
        pool.Add(known)
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.dependency.append("vaccel/v1/options.proto")
    field = file.message_type.add(name="Request").field.add(name="vf", number=1)
    field.type, field.label = field.TYPE_STRING, field.LABEL_OPTIONAL
    made = file.service.add(name="Test")
    method = made.method.add(name="Do", input_type=".t.Request", output_type=".t.Request")
    if rule:
        method.options.Extensions[options_pb2.rule].CopyFrom(options_pb2.Rule(**rule))
    pool.Add(file)
    return pool.FindFileByName("t.proto").services_by_name["Test"]


def test_a_whole_rule_is_read() -> None:
    read = rules.rules_of(service(**WHOLE))
    assert read == {"Do": rules.Rule("Test/Do", "tenant", "vf", "none", audit=False)}


@pytest.mark.parametrize("left_out", WHOLE)
def test_what_a_rule_leaves_out_is_named(left_out: str) -> None:
    made = service(**{key: value for key, value in WHOLE.items() if key != left_out})
    with pytest.raises(Internal, match=rf"Test/Do declares no {left_out}") as caught:
        rules.rules_of(made)
    assert ".proto" in caught.value.hint


def test_a_method_without_any_rule_is_named() -> None:
    with pytest.raises(Internal, match="no role, no owner_field, no quota, no audit"):
        rules.rules_of(service())


def test_an_owner_that_is_no_field_is_named() -> None:
    with pytest.raises(Internal, match="owner_field 'vm' in Request"):
        rules.rules_of(service(**{**WHOLE, "owner_field": "vm"}))


def test_a_server_refuses_such_a_service() -> None:
    with pytest.raises(Internal, match="Test/Do"):
        add_service(None, service(), {})  # type: ignore[arg-type]


def test_a_server_refuses_a_method_that_nothing_answers() -> None:
    with pytest.raises(Internal, match="nothing answers"):
        add_service(None, service(**WHOLE), {})  # type: ignore[arg-type]


def test_every_method_of_ours_has_a_rule() -> None:
    found = rules.all_rules()
    assert len(found) == sum(len(s.methods) for s in rules.SERVICES.values())
    changes = [r for r in found.values() if r.method.startswith("Admin/") and r.audit]
    assert {r.role for r in changes} == {"admin"} and len(changes) >= 8
