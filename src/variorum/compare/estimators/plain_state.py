"""A bundle as plain values (texts, numbers, bytes of safetensors), for whoever pickles an estimator."""

from typing import Any

from safetensors.torch import load, save

from variorum.core import Spec
from variorum.runtime.bundle import Bundle
from variorum.runtime.trial import build, survey


def to_plain(bundle: Bundle) -> dict[str, Any]:
    """Everything that makes the bundle; nothing in it is an object of ours."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in survey(bundle.model).tensors.items()}
    preprocess = bundle.preprocess.to_dict() if bundle.preprocess is not None else None
    return {"spec": bundle.spec.to_dict(), "preprocess": preprocess, "kind": bundle.kind, "labels": list(bundle.labels),
            "provenance": dict(bundle.provenance), "card": bundle.card, "weights": save(tensors)}  # fmt: skip


def from_plain(state: dict[str, Any]) -> Bundle:
    """The bundle that :func:`to_plain` wrote down."""
    model = build(Spec.from_dict(state["spec"]))
    tensors = load(bytes(state["weights"]))
    for name, tensor in survey(model).tensors.items():
        tensor.data = tensors[name].clone()
    preprocess = Spec.from_dict(state["preprocess"]) if state["preprocess"] is not None else None
    return Bundle(model.eval(), state["kind"], preprocess, tuple(state["labels"]), state["provenance"], state["card"])
