"""The registry: subclassing registers, names are taken once, and half a discovery is none."""

from abc import abstractmethod

import pytest

from variorum.core import Channel, Mixer, Norm, Registered, VariorumError, entry, find, find_entry, isolated, registered
from variorum.core import registry as registry_module
from variorum.layers.norms.layernorm import LayerNorm


def test_all_registered_classes_are_final_and_of_a_kind() -> None:
    assert {"Attention", "MLP", "Stack", "Causal"} <= set(registered())
    for name, cls in registered().items():
        assert name == cls.__name__ and not cls._abstract and not getattr(cls, "__abstractmethods__", None)
        assert cls.kind != Registered.kind, f"{name} is of no kind"


def test_a_kind_has_its_own_classes_in_order() -> None:
    norms = registered(Norm)
    assert norms["LayerNorm"] is LayerNorm and list(norms) == sorted(norms)
    assert all(issubclass(cls, Norm) for cls in norms.values()) and "Attention" not in norms


def test_subclassing_registers_and_isolation_forgets() -> None:
    before = registered()
    with isolated():

        class Doubled(Channel):
            def __init__(self, dim: int) -> None:
                super().__init__()

            def forward(self, x):  # type: ignore[no-untyped-def]
                return 2 * x

        @entry("doubled-of-a-test")
        def doubled() -> None: ...

        assert find("Doubled") is Doubled and Doubled.spec().build(dim=3)(1) == 2
        assert find_entry("doubled-of-a-test").function is doubled
    assert registered() == before
    for look in (lambda: find("Doubled"), lambda: find_entry("doubled-of-a-test")):
        with pytest.raises(VariorumError):
            look()


def test_an_abstract_class_is_not_registered() -> None:
    with isolated():

        class Odd(Mixer, abstract=True):
            @abstractmethod
            def oddness(self) -> int: ...

        assert "Odd" not in registered()
        with pytest.raises(VariorumError, match="registered part"):
            find("Odd")


def test_a_final_class_has_no_subclass() -> None:
    with isolated(), pytest.raises(TypeError, match="final LayerNorm"):

        class Better(LayerNorm): ...


def test_a_name_is_taken_once() -> None:
    with isolated(), pytest.raises(VariorumError, match=r"variorum\.layers\.norms\.layernorm"):
        type(Norm)("LayerNorm", (Norm,), {"__module__": "elsewhere", "forward": lambda self, x: x})
    assert find("LayerNorm") is LayerNorm


def test_a_slug_is_bound_once() -> None:
    with isolated():
        entry("bound-by-a-test")(test_a_name_is_taken_once)
        entry("bound-by-a-test")(test_a_name_is_taken_once)
        with pytest.raises(VariorumError, match="not bound yet"):
            entry("bound-by-a-test")(test_a_slug_is_bound_once)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(VariorumError, match="'LayerNorm'"):
        find("LayerNrom")


def test_a_module_that_cannot_be_imported_is_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed discovery the registry must not pass for whole."""

    def fail() -> None:
        raise ImportError("a plugin is broken")

    monkeypatch.setattr(registry_module, "_discovered", False)
    monkeypatch.setattr(registry_module, "_import_all", fail)
    for _ in range(2):
        with pytest.raises(ImportError, match="broken"):
            registered()
