"""Messages of the Admin service to values and back."""

from __future__ import annotations

from typing import Any

from vaccel import inventory, operations
from vaccel.rpc.convert import profile_of, to_profile, to_usage, usage_of
from vaccel.rpc.convert_conditions import conditions_of, to_conditions
from vaccel.v1 import admin_pb2 as pb


def to_pf(pf: inventory.PF) -> pb.PF:
    """A card as it travels."""
    return pb.PF(
        id=pf.id,
        name=pf.name,
        kind=pf.kind,
        card=pf.card,
        cores=pf.cores,
        cores_free=pf.cores_free,
        memory_bytes=pf.memory_bytes,
        memory_free_bytes=pf.memory_free_bytes,
        clock_hz=pf.clock_hz,
        profiles=[to_profile(p) for p in pf.profiles],
        fits=[pf.fits[p.name] for p in pf.profiles],
        core_owners=[pb.CoreOwner(core=i, vf=vf) for i, vf in enumerate(pf.core_owners)],
        source=pf.source,
        figures=[pb.Figure(**_fields(figure, _FIGURE_FIELDS)) for figure in pf.figures],
        conditions=to_conditions(pf.conditions),
    )


def pf_of(message: pb.PF) -> inventory.PF:
    """A card."""
    profiles = tuple(map(profile_of, message.profiles))
    return inventory.PF(
        id=message.id,
        name=message.name,
        kind=message.kind,
        card=message.card,
        cores=message.cores,
        cores_free=message.cores_free,
        memory_bytes=message.memory_bytes,
        memory_free_bytes=message.memory_free_bytes,
        clock_hz=message.clock_hz,
        profiles=profiles,
        fits=dict(zip((p.name for p in profiles), message.fits, strict=True)),
        core_owners=tuple(owner.vf for owner in message.core_owners),
        source=message.source,
        figures=tuple(
            inventory.Figure(**_fields(figure, _FIGURE_FIELDS)) for figure in message.figures
        ),
        conditions=conditions_of(message.conditions),
    )


def to_vf(vf: inventory.VF) -> pb.VF:
    """A VF as it travels."""
    attachment = pb.Attachment(enrolled=vf.enrolled)
    if vf.vm:
        attachment.vm = vf.vm
    elif vf.socket:
        attachment.socket = vf.socket
    return pb.VF(
        id=vf.id,
        name=vf.name,
        tenant=vf.tenant,
        pf=vf.pf,
        profile=to_profile(vf.profile),
        state=vf.state,
        epoch=vf.epoch,
        cores=vf.cores,
        attachment=attachment,
        worker_pid=vf.worker_pid,
        usage=to_usage(vf.usage),
        created_unix_ns=vf.created_unix_ns,
        reason=vf.reason,
        conditions=to_conditions(vf.conditions),
    )


def vf_of(message: pb.VF) -> inventory.VF:
    """A VF."""
    return inventory.VF(
        id=message.id,
        name=message.name,
        tenant=message.tenant,
        pf=message.pf,
        profile=profile_of(message.profile),
        state=message.state,
        epoch=message.epoch,
        cores=tuple(message.cores),
        vm=message.attachment.vm,
        socket=message.attachment.socket,
        enrolled=message.attachment.enrolled,
        worker_pid=message.worker_pid,
        usage=usage_of(message.usage),
        created_unix_ns=message.created_unix_ns,
        reason=message.reason,
        conditions=conditions_of(message.conditions),
    )


_FIGURE_FIELDS = ("name", "value", "unit", "published", "source", "unverified", "note")
_VM_FIELDS = (
    "id",
    "name",
    "tenant",
    "state",
    "pid",
    "memory_bytes",
    "cpus",
    "image",
    "accelerator",
    "started_unix_ns",
    "reason",
)
_IMAGE_FIELDS = ("name", "digest", "bytes", "built_unix_ns", "current", "path")
_STATUS_FIELDS = (
    "host",
    "version",
    "pid",
    "uptime_seconds",
    "accelerator",
    "accelerator_reason",
    "guest_endpoint",
    "pfs",
    "vfs",
    "vms",
    "memory_admitted_bytes",
    "memory_limit_bytes",
)


def _fields(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def to_vm(vm: inventory.VM) -> pb.VM:
    """A VM as it travels."""
    return pb.VM(vfs=vm.vfs, **_fields(vm, _VM_FIELDS))


def vm_of(message: pb.VM) -> inventory.VM:
    """A VM."""
    return inventory.VM(vfs=tuple(message.vfs), **_fields(message, _VM_FIELDS))


def to_image(image: inventory.Image) -> pb.Image:
    """An image as it travels."""
    return pb.Image(**_fields(image, _IMAGE_FIELDS))


def image_of(message: pb.Image) -> inventory.Image:
    """An image."""
    return inventory.Image(**_fields(message, _IMAGE_FIELDS))


def to_status(status: inventory.Status) -> pb.GetStatusReply:
    """A status as it travels."""
    return pb.GetStatusReply(warnings=status.warnings, **_fields(status, _STATUS_FIELDS))


def status_of(message: pb.GetStatusReply) -> inventory.Status:
    """A status."""
    return inventory.Status(warnings=tuple(message.warnings), **_fields(message, _STATUS_FIELDS))


def to_progress(progress: operations.Progress) -> pb.Progress:
    """A step as it travels."""
    return pb.Progress(step=progress.step, fraction=progress.fraction)


def progress_of(message: pb.Progress) -> operations.Progress:
    """A step."""
    return operations.Progress(message.step, message.fraction)


def to_vf_event(event: operations.Progress | inventory.VF) -> pb.VFEvent:
    """A step, or the VF at the end."""
    if isinstance(event, operations.Progress):
        return pb.VFEvent(progress=to_progress(event))
    return pb.VFEvent(vf=to_vf(event))


def to_vm_event(event: operations.Progress | inventory.VM) -> pb.VMEvent:
    """A step, or the VM at the end."""
    if isinstance(event, operations.Progress):
        return pb.VMEvent(progress=to_progress(event))
    return pb.VMEvent(vm=to_vm(event))


def to_image_event(event: operations.Progress | inventory.Image) -> pb.ImageEvent:
    """A step, or the image at the end."""
    if isinstance(event, operations.Progress):
        return pb.ImageEvent(progress=to_progress(event))
    return pb.ImageEvent(image=to_image(event))
