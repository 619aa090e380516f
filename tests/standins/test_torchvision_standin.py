"""The stand-in lets the reference packages in, computes nothing, and leaves nothing behind."""

import importlib.util
import sys

import pytest
import torch

from standins import torchvision_standin


def test_a_reference_model_runs_and_torchvision_is_gone_afterwards() -> None:
    with torchvision_standin.installed():
        from vit_pytorch.simple_vit import SimpleViT

    model = SimpleViT(image_size=8, patch_size=4, num_classes=3, dim=16, depth=1, heads=2, mlp_dim=16)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    assert importlib.util.find_spec("torchvision") is None
    assert not [name for name in sys.modules if name.split(".")[0] == "torchvision"]


def test_a_name_is_a_class_but_using_it_raises() -> None:
    with torchvision_standin.installed():
        from torchvision.ops.misc import FrozenBatchNorm2d
        from torchvision.transforms import functional

        assert not isinstance(torch.nn.BatchNorm2d(1), FrozenBatchNorm2d)
        with pytest.raises(RuntimeError, match=r"torchvision\.ops\.misc\.FrozenBatchNorm2d is only a name here"):
            FrozenBatchNorm2d(4)
        with pytest.raises(RuntimeError, match=r"torchvision\.transforms\.functional\.resize is only a name here"):
            functional.resize(torch.zeros(1, 3, 4, 4), [2, 2])
        assert functional.resize is functional.resize
        assert functional.InterpolationMode("bicubic") is functional.InterpolationMode.BICUBIC


def test_a_subclass_cannot_be_made_either() -> None:
    with torchvision_standin.installed():
        from torchvision.transforms import ToTensor

        class Mine(ToTensor):
            def __init__(self) -> None:
                raise AssertionError("the instance must not come this far")

        with pytest.raises(RuntimeError, match="is only a name here"):
            Mine()


def test_a_second_torchvision_is_refused() -> None:
    with (
        torchvision_standin.installed(),
        pytest.raises(RuntimeError, match="found it installed"),
        torchvision_standin.installed(),
    ):
        raise AssertionError("the inner block must not be entered")


@pytest.mark.slow
def test_timm_imports_and_a_model_runs() -> None:
    with torchvision_standin.installed():
        import timm

    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 5)
