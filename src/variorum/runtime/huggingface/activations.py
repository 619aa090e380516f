"""Names of nonlinearities in config.json, and ours."""

from variorum.layers.channels.activation import Activation

ACTIVATIONS = {
    "gelu": Activation.GELU,
    "gelu_python": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "relu": Activation.RELU,
    "silu": Activation.SILU,
    "swish": Activation.SILU,
    "tanh": Activation.TANH,
}
"""``gelu_new``, ``gelu_pytorch_tanh`` and ``gelu_fast`` are one formula, written down three times."""

NAMES = {
    Activation.GELU: "gelu",
    Activation.GELU_TANH: "gelu_new",
    Activation.RELU: "relu",
    Activation.SILU: "silu",
    Activation.TANH: "tanh",
}
