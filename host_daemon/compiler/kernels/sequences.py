"""Attention and recurrent cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from host_daemon.compiler.kernels.attention import attend
from host_daemon.compiler.kernels.draft import Draft
from vaccel.errors import InvalidArgument
from vaccel.kernels.declaration import ARITHMETIC
from vaccel.model import DType


def _recurrent(op: str) -> Callable[[Draft], None]:
    def draw(draft: Draft) -> None:
        hidden = draft.size("r", 2)
        if hidden is None:
            raise InvalidArgument(
                f"kernel {draft.kernel.name}: the hidden size is not known",
                hint="give r with numbers; the other sizes may be symbols",
            )
        settings: dict[str, Any] = {
            "hidden_size": hidden,
            "direction": str(draft.settings["direction"]),
        }
        if op == "GRU":
            settings["linear_before_reset"] = draft.integer("linear_before_reset")
        # The fifth operand of ONNX, lengths of the sequences, is left out.
        inputs = draft.given("x", "w", "r", "bias", "", "initial_h", "initial_c")
        draft.node(op, inputs, **settings)

    return draw


def _attention(draft: Draft) -> None:
    plain = draft.settings[ARITHMETIC] == "fp32" and draft.dtype("q") is DType.FLOAT32
    if draft.settings[ARITHMETIC] and not plain:
        attend(draft)
        return
    draft.opset = 23
    settings: dict[str, Any] = {"is_causal": draft.integer("causal")}
    if draft.number("scale"):
        settings["scale"] = draft.number("scale")
    inputs = draft.given("q", "k", "v", "mask", "past_key", "past_value")
    draft.node("Attention", inputs, **settings)


def _rotary(draft: Draft) -> None:
    draft.opset = 23
    inputs = ["x", "cos", "sin", "positions"]
    draft.node("RotaryEmbedding", inputs, interleaved=draft.integer("interleaved"))


SEQUENCES: Final[dict[str, Callable[[Draft], None]]] = {
    "rnn": _recurrent("RNN"),
    "gru": _recurrent("GRU"),
    "lstm": _recurrent("LSTM"),
    "attention": _attention,
    "cached_attention": _attention,
    "rotary_embedding": _rotary,
}
