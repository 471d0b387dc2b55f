"""What each RPC declares in its proto options, read once.

A method that declares nothing stops the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vaccel.errors import Internal
from vaccel.v1 import admin_pb2, compute_pb2, enrol_pb2, options_pb2


@dataclass(frozen=True, slots=True)
class Rule:
    """One method's rule. ``owner_field`` is "-" where no object is named; names are lower case."""

    method: str  # Service/Method
    role: str  # admin, tenant, anyone
    owner_field: str
    quota: str  # none, requests, objects, bytes
    audit: bool


def rules_of(service: Any) -> Mapping[str, Rule]:
    """Rules of a service's descriptor by method. Raises Internal naming what one leaves out."""
    rules = {}
    for method in service.methods:
        name = f"{service.name}/{method.name}"
        option = method.GetOptions().Extensions[options_pb2.rule]
        missing = [
            field
            for field, value in (
                ("role", option.role),
                ("owner_field", option.owner_field),
                ("quota", option.quota),
                ("audit", option.audit),
            )
            if not value
        ]
        owner = option.owner_field
        if owner and owner != "-" and owner not in method.input_type.fields_by_name:
            missing.append(f"owner_field {owner!r} in {method.input_type.name}")
        if missing:
            raise Internal(
                f"rpc {name} declares no {', no '.join(missing)}",
                hint="complete its (rule) in the .proto file; the server does not start without",
            )
        rules[method.name] = Rule(
            name,
            options_pb2.Role.Name(option.role).removeprefix("ROLE_").lower(),
            owner,
            options_pb2.Quota.Name(option.quota).removeprefix("QUOTA_").lower(),
            option.audit == options_pb2.AUDIT_ALWAYS,
        )
    return rules


SERVICES: Final = {
    "Compute": compute_pb2.DESCRIPTOR.services_by_name["Compute"],
    "Enrol": enrol_pb2.DESCRIPTOR.services_by_name["Enrol"],
    "Admin": admin_pb2.DESCRIPTOR.services_by_name["Admin"],
}


def all_rules() -> Mapping[str, Rule]:
    """Every rule of every service, by Service/Method."""
    return {r.method: r for service in SERVICES.values() for r in rules_of(service).values()}
