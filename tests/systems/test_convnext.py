"""ConvNeXt, and the road that leads to it from ResNet-50."""

import re
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from standins import torchvision_standin
from variorum.core import Layout, Spec, VariorumError, diff, find_entry
from variorum.layers.grids import to_image
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.layer_scale import LayerScale
from variorum.systems.convnext_ladder import ladder
from variorum.systems.convnext_table import measured

SLUG = "convnext"
FACTS = {"channels": 3, "height": 224, "width": 224, "classes": 1000}


def reference(name: str) -> nn.Module:
    """A timm model with random weights; scales and statistics moved away from where they start."""
    with torchvision_standin.installed():
        import timm

        torch.manual_seed(0)
        model = timm.create_model(name).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dim() == 1 and key.endswith(("gamma", "weight", "running_var")):
                value.uniform_(0.5, 1.5)
            elif value.dim() == 1:
                value.normal_(std=0.1)
    return model


def copy(*pairs: tuple[nn.Module, nn.Module]) -> None:
    """Copy weights and statistics of modules, by their order; kernels of 1 x 1 are matrices here."""
    with torch.no_grad():
        for ours, theirs in pairs:
            found = [value for value in theirs.state_dict().values() if value.dim()]
            for mine, value in zip(ours.state_dict().values(), found, strict=True):
                mine.copy_(value.reshape(mine.shape))


def copy_convnext(ours: nn.Module, theirs: nn.Module) -> None:
    copy((ours.embed.project, theirs.stem[0]), (ours.embed.norm, theirs.stem[1]))
    copy((ours.head.pool.norm, theirs.head.norm), (ours.head.linear, theirs.head.fc))
    for merge, stage in zip(ours.merges, theirs.stages[1:], strict=True):
        copy((merge.norm, stage.downsample[0]), (merge.conv, stage.downsample[1]))
    for block, other in zip(ours.blocks, [b for stage in theirs.stages for b in stage.blocks], strict=True):
        conv, norm, mlp = block.parts
        copy((conv.conv, other.conv_dw), (norm, other.norm), (mlp.up, other.mlp.fc1), (mlp.down, other.mlp.fc2))
        scale = next(part for part in block.modules() if isinstance(part, LayerScale))
        scale.weight.data.copy_(other.gamma)


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize(("size", "name"), [("convnext-atto", "convnext_atto"), ("convnext-t", "convnext_tiny")])
def test_equals_timm(size, name):
    """Logits equal those of timm's convnext_atto and convnext_tiny at 224 x 224, weights copied."""
    theirs = reference(name)
    ours = find_entry(SLUG).spec(size).fill(**FACTS).build().eval()
    copy_convnext(ours, theirs)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1, "logits that hardly vary would tell nothing"


@pytest.mark.row(SLUG, 1)
@pytest.mark.parametrize(
    ("size", "parameters", "macs"), [("convnext-t", 28.59e6, 4.47e9), ("convnext-atto", 3.70e6, 0.55e9)]
)
def test_published_size(size, parameters, macs):
    """ConvNeXt-T has 28.59M parameters and 4.47 GMACs, Atto 3.70M and 0.55 GMACs, within 1 percent."""
    found = measured(find_entry(SLUG).spec(size))
    assert found == (pytest.approx(parameters, rel=0.01), pytest.approx(macs, rel=0.01))


@pytest.mark.parametrize(
    ("size", "parameters", "macs"), [("s", 50, 8.7), ("b", 89, 15.4), ("l", 198, 34.4), ("xl", 350, 60.9)]
)
def test_larger_sizes_of_the_paper(size, parameters, macs):
    """Parameters and MACs of the larger sizes are those of the paper, which rounds them."""
    found = measured(find_entry(SLUG).spec(f"convnext-{size}"))
    assert found == (pytest.approx(parameters * 1e6, abs=0.5e6), pytest.approx(macs * 1e9, abs=0.06e9))


def copy_resnet(ours: nn.Module, theirs: nn.Module) -> None:
    def branch(parts: nn.Module, other: nn.Module) -> None:
        bottleneck, last = parts
        first, _, conv, middle, _ = bottleneck.parts
        copy((bottleneck.up, other.conv1), (first, other.bn1), (conv.conv, other.conv2), (middle, other.bn2))
        copy((bottleneck.down, other.conv3), (last, other.bn3))

    copy((ours.embed.conv, theirs.conv1), (ours.embed.norm, theirs.bn1), (ours.head.linear, theirs.fc))
    stages = [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4]
    for merge, stage in zip(ours.merges, stages, strict=True):
        branch(merge.parts, stage[0])
        copy((merge.shortcut[0].conv, stage[0].downsample[0]), (merge.shortcut[1], stage[0].downsample[1]))
    for block, other in zip(ours.blocks, [b for stage in stages for b in stage[1:]], strict=True):
        branch(block.parts, other)


@pytest.mark.row(SLUG, 2)
def test_the_ladder_starts_at_resnet_50():
    """The first rung is ResNet-50: its logits equal those of timm's resnet50 on copied weights."""
    # In float64: logits reach hundreds here, where float32 rounds at 1e-4.
    theirs = reference("resnet50").double()
    ours = ladder()[0][1].fill(**FACTS).build().double().eval()
    copy_resnet(ours, theirs)
    x = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-9, rtol=0)


def shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in spec.fill(**FACTS).build().state_dict().items()}


@pytest.mark.row(SLUG, 2)
def test_the_ladder_ends_at_convnext_t():
    """The last rung has the state-dict shapes of ConvNeXt-T, name by name, and differs from it in no choice."""
    (_, last), published = ladder()[-1], find_entry(SLUG).spec("convnext-t")
    assert Counter(shapes(last).values()) == Counter(shapes(published).values())
    plain = find_entry(SLUG).spec("convnext-t", drop=0.0)
    assert shapes(last) == shapes(plain)
    assert diff(last, plain) == []


INERT = {"Dropout", "NoNorm", "NoPosition"}


def modules(spec: Spec) -> Counter[str]:
    """How often each module that computes stands in the built model; those that hold an activation go by its name."""
    with torch.device("meta"):
        built = list(spec.fill(**FACTS).build().modules())
    activations = [says_activation(found) for m in built if (found := vars(m).get("activation")) is not None]
    own = [m for m in built if list(m.parameters(recurse=False)) or not list(m.children())]
    names = [says(m) for m in own if "activation" not in vars(m)]
    return Counter(name for name in activations + names if name not in INERT)


def says_activation(function: Any) -> str:
    """The activation's name, whether it may overwrite its input or not."""
    return str(function.args[0].value) if isinstance(function, partial) else str(function.__name__)


def says(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"{'depthwise' if module.groups > 1 else 'conv'} {module.kernel_size[0]}/{module.stride[0]}"
    return type(module).__name__


def places(before: Spec, after: Spec) -> set[str]:
    """The paths at which two specs differ, without indices."""
    return {re.sub(r"\[[\d*]+\]", "", change.path) for change in diff(before, after)}


BRANCHES = {"stages.parts", "merges.parts", "len(stages.parts)", "len(merges.parts)"}
CHANGES: dict[str, tuple[dict[str, int], dict[str, int], set[str]]] = {
    "stage ratio": ({}, {"BatchNorm": 6, "Linear": 4, "relu": 6, "conv 3/1": 2}, {"len(stages)"}),
    "patchify stem": ({"conv 7/2": 1, "BatchNorm": 1, "relu": 1}, {"conv 4/4": 1}, {"embed"}),
    "depthwise convolution": (
        {"conv 3/1": 15, "conv 3/2": 3},
        {"depthwise 3/1": 15, "depthwise 3/2": 3},
        {"stages.parts.parts", "merges.parts.parts"},
    ),
    "width 96": ({}, {}, {"dims"}),
    # The projection beside the first block is no longer needed, so that block is one like the others.
    "inverted bottleneck": (
        {"conv 1/1": 1, "BatchNorm": 1},
        {},
        {"dims", "stages.parts.ratio", "merges.parts.ratio", "len(stages)", "stages", "len(merges)"}
        | {"merges.parts.parts", "merges.shortcut.stride"},
    ),
    "depthwise moved up": ({}, {}, BRANCHES),
    "kernel 7": (
        {"depthwise 3/1": 15, "depthwise 3/2": 3},
        {"depthwise 7/1": 15, "depthwise 7/2": 3},
        {"stages.parts.kernel", "merges.parts.kernel"},
    ),
    "gelu": (
        {"relu": 54},
        {"gelu": 54},
        {
            f"{where}.{what}.activation"
            for where in ("stages", "merges")
            for what in ("parts", "parts.parts", "residual")
        },
    ),
    "fewer activations": ({"gelu": 36}, {}, BRANCHES | {"stages.residual.activation", "merges.residual.activation"}),
    # What a block does after its norm is then an MLP; a strided block's brings the width along, and stays a bottleneck.
    "fewer norms": (
        {"BatchNorm": 36},
        {},
        {"stages.parts", "len(stages.parts)"}
        | {"len(merges.parts)", "len(merges.parts.parts)", "merges.parts.parts", "merges.parts.bias"},
    ),
    "layer norm": (
        {"BatchNorm": 21},
        {"LayerNorm": 21},
        {"stages.parts", "merges.parts", "merges.shortcut"}
        | {"stages.parts.bias", "merges.parts.bias", "merges.shortcut.bias"},
    ),
    "separate downsampling": (
        {"depthwise 7/2": 3, "conv 1/2": 3},
        {"depthwise 7/1": 3, "conv 2/2": 3, "LayerNorm": 2},
        {"len(stages)", "merges", "embed.norm", "head.pool"},
    ),
    "layer scale": ({}, {"LayerScale": 18}, {"stages.residual"}),
}
"""For each rung the modules that go, the modules that come, and the places in the spec that change."""


@pytest.mark.row(SLUG, 2)
def test_each_rung_is_one_change():
    """Each rung differs from the one before by the modules of the named change, at its places in the spec, alone."""
    rungs = ladder()
    assert [name for name, _ in rungs] == ["ResNet-50", *CHANGES]
    for (_, before), (name, after) in pairwise(rungs):
        first, second = modules(before), modules(after)
        found = (dict(first - second), dict(second - first), places(before, after))
        assert found == CHANGES[name], name


@pytest.mark.row(SLUG, 2)
def test_widths_and_depths_of_the_rungs():
    """Widths grow by half, then blocks turn inside out: 4 times narrower inside before, 4 times wider after."""
    specs = dict(ladder())
    assert specs["patchify stem"]["dims"] == (64, 256, 512, 1024, 2048)
    assert specs["width 96"]["dims"] == (96, 384, 768, 1536, 3072)
    assert specs["inverted bottleneck"]["dims"] == (96, 192, 384, 768)
    ratios = {name: {s["ratio"] for _, s in spec.walk() if s.part == "Bottleneck"} for name, spec in specs.items()}
    assert ratios["width 96"] == {0.25} and ratios["inverted bottleneck"] == {4.0}
    blocks = {name: [len(stage) for stage in spec["stages"]] for name, spec in specs.items()}
    assert blocks["ResNet-50"] == [0, 2, 3, 5, 2] and blocks["stage ratio"] == [0, 2, 2, 8, 2]
    assert blocks["inverted bottleneck"] == [3, 2, 8, 2] and blocks["separate downsampling"] == [3, 3, 9, 3]


@pytest.mark.row(SLUG, 2)
def test_arithmetic_of_the_rungs_is_the_papers():
    """MACs of the rungs, up to the larger kernel, are those that the paper's figure 2 gives to one decimal.

    From there to the layer norms no arithmetic of ours changes. The figure's rises to 4.5 GMACs already with the layer
    norms, which have next to none; here it rises with separate down-sampling, to the same 4.5.
    """
    figure = {
        "ResNet-50": 4.1, "stage ratio": 4.5, "patchify stem": 4.4, "depthwise convolution": 2.4, "width 96": 5.3,
        "inverted bottleneck": 4.6, "depthwise moved up": 4.1, "kernel 7": 4.2, "separate downsampling": 4.5,
    }  # fmt: skip
    specs = dict(ladder())
    assert {name: measured(specs[name])[1] / 1e9 for name in figure} == pytest.approx(figure, abs=0.06)


@pytest.mark.row(SLUG, 2)
def test_the_command_prints_the_ladder():
    """``python -m variorum.systems.convnext`` prints parameters and MACs of every rung."""
    run = subprocess.run(
        [sys.executable, "-m", "variorum.systems.convnext"], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()[1:]
    assert [line[:24].strip() for line in lines] == [name for name, _ in ladder()]
    assert lines[0].split()[1:3] == ["25.56M", "4.09"] and lines[-1][24:].split()[:2] == ["28.59M", "4.46"]


@pytest.mark.slow
def test_a_small_ladder_learns():
    """Every rung of a narrow ladder takes steps that lower the loss, on images of 32 x 32."""
    for name, spec in ladder(width=8):
        torch.manual_seed(0)
        model = spec.fill(channels=1, height=32, width=32, classes=2).build()
        x, y = torch.randn(16, 1, 32, 32), torch.arange(16) % 2
        x[y == 1, :, :16] += 1
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0], f"{name}: {losses}"


@pytest.mark.row(SLUG, 3)
@pytest.mark.parametrize("size", [(96, 128), (64, 64), (101, 77)])
def test_any_size(size):
    """Features have stride 32, at 96 x 128 as at any size; one model answers them all, as timm's does."""
    theirs = reference("convnext_atto")
    ours = find_entry(SLUG).spec("convnext-atto").fill(**FACTS).build().eval()
    copy_convnext(ours, theirs)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        features = ours.features(x)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=0)
    grids = [layout.grid for _, layout in features]
    assert grids == [tuple(side // stride for side in size) for stride in (4, 8, 16, 32)]
    assert [tokens.shape for tokens, _ in features] == [
        (1, height * width, dim) for (height, width), dim in zip(grids, (40, 80, 160, 320), strict=True)
    ]


@pytest.mark.row(SLUG, 3)
def test_layer_norms_agree():
    """The norm of tokens, channels last, agrees with timm's norm of images, channels first, to 1e-6."""
    with torchvision_standin.installed():
        from timm.layers import LayerNorm2d

    torch.manual_seed(0)
    ours, theirs = LayerNorm.spec(eps=1e-6).build(dim=40), LayerNorm2d(40, eps=1e-6)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 1.5), ours.bias.normal_()
    copy((theirs, ours))
    layout = Layout(grid=(24, 32))
    x = 1 + 2 * torch.randn(2, 24 * 32, 40)
    expected = theirs(to_image(x, layout).contiguous())
    torch.testing.assert_close(to_image(ours(x), layout), expected, atol=1e-6, rtol=0)


def test_batch_norm_learns_as_torchs():
    """In training the batch norm of tokens gives what torch's gives for the image, and keeps the same averages."""
    from variorum.layers.norms.batchnorm import BatchNorm

    torch.manual_seed(0)
    ours, theirs, layout = BatchNorm.spec().build(dim=6), nn.BatchNorm2d(6), Layout(grid=(3, 4))
    for _ in range(3):
        x = 3 + 2 * torch.randn(5, 12, 6)
        torch.testing.assert_close(to_image(ours(x), layout), theirs(to_image(x, layout)), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)


@pytest.mark.parametrize("side", [4, 8, 9, 28, 64])
def test_the_laptop_size_takes_small_images(side):
    """The model that ``variorum compare`` tries answers images of 8 x 8 and, down to 4 x 4, smaller ones."""
    spec = find_entry(SLUG).fit("images").fill(channels=1, height=side, width=side, classes=10)
    out = spec.build().eval()(torch.randn(2, 1, side, side))
    assert out.shape == (2, 10) and out.isfinite().all()


@pytest.mark.parametrize(("side", "found"), [(1, "1 x 1"), (3, "1 x 1")])
def test_images_that_are_too_small_are_refused(side, found):
    """An image of which no token is left is refused in words."""
    model = find_entry(SLUG).fit("images").fill(channels=1, height=8, width=8, classes=10).build()
    with pytest.raises(VariorumError, match=f"at least 2 x 2.*found {found}.*Use larger"):
        model(torch.randn(1, 1, side, side))
