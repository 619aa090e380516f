"""The road from ResNet-50 to ConvNeXt-T, one change a rung. Liu et al. 2022, arXiv:2201.03545, section 2 and figure 2.

A convolution has a bias unless a batch norm follows, which would take it away.
"""

from collections.abc import Callable, Sequence
from typing import Any

from variorum.core import Spec
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.mlp import MLP
from variorum.layers.channels.nonlinearity import Nonlinearity
from variorum.layers.embed.patches import Patches
from variorum.layers.heads.classifier import Classifier
from variorum.layers.merges.bottleneck import Bottleneck
from variorum.layers.merges.conv import ConvMerge
from variorum.layers.merges.depthwise import DepthwiseMerge
from variorum.layers.merges.residual import ResidualMerge
from variorum.layers.mixers.depthwise_conv import DepthwiseConv
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.pools.normed import NormedPool
from variorum.layers.residuals.add import Add
from variorum.layers.residuals.layer_scale import LayerScale
from variorum.models.blocks.branch import Branch
from variorum.models.pyramid import Pyramid
from variorum.systems.convnext_start import BN, RELU, SAME, resnet, strided

Road = Spec[Pyramid]
_LN, _GELU = LayerNorm.spec(eps=1e-6), Nonlinearity.spec(activation=Activation.GELU)


def ladder(*, width: int = 64) -> list[tuple[str, Road]]:
    """The rungs in order, by name; ``width`` is that of the stem of ResNet-50, even, less for a small road."""
    rungs = [("ResNet-50", resnet(width))]
    for step in STEPS:
        rungs.append((step.__name__.replace("_", " "), step(rungs[-1][1])))
    return rungs


def stage_ratio(road: Road) -> Road:
    """(3, 4, 6, 3) blocks become (3, 3, 9, 3), as in Swin-T."""
    block = road.at("stages[1][0]")
    return road.but(stages=[[], *([block] * (depth - 1) for depth in (3, 3, 9, 3))])


def patchify_stem(road: Road) -> Road:
    """A 4 x 4 convolution with stride 4 instead of the 7 x 7 one, its norm, ReLU and pooling."""
    return road.but(embed=Patches.spec(patch=4))


def depthwise_convolution(road: Road) -> Road:
    """Each channel is convolved alone."""
    return _swap(
        road, {SAME: DepthwiseConv.spec(kernel=3, bias=False), strided(3, 2): DepthwiseMerge.spec(kernel=3, bias=False)}
    )


def width_96(road: Road) -> Road:
    """Half as wide again, to make good for the arithmetic saved."""
    return road.but(dims=[dim * 3 // 2 for dim in road["dims"]])


def inverted_bottleneck(road: Road) -> Road:
    """Blocks are wide inside instead of outside; the stem is as wide as the first stage, so nothing has to widen it."""
    first, *stages = road["stages"][1:]
    road = road.but(
        dims=[dim // 4 for dim in road["dims"][1:]], stages=[[*first, first[0]], *stages], merges=road["merges"][1:]
    )
    return _everywhere(road, lambda spec: spec.but(ratio=4.0) if spec.cls is Bottleneck else spec)


def depthwise_moved_up(road: Road) -> Road:
    """The convolution comes before the bottleneck, where it is narrow."""

    def move(bottleneck: Spec[Any], norm: Spec[Any]) -> Sequence[Spec[Any]]:
        outer, act, conv, *after = bottleneck["parts"]
        return (conv, *after, bottleneck.but(parts=(outer, act)), norm)

    return _branches(road, move)


def kernel_7(road: Road) -> Road:
    """7 x 7 instead of 3 x 3."""
    conv = (DepthwiseConv, DepthwiseMerge)
    return _everywhere(road, lambda spec: spec.but(kernel=7) if spec.cls in conv else spec)


def gelu(road: Road) -> Road:
    """GELU instead of ReLU."""
    return _swap(road, {RELU: _GELU, Add.spec(activation=Activation.RELU): Add.spec(activation=Activation.GELU)})


def fewer_activations(road: Road) -> Road:
    """One in a block, between its two 1 x 1 convolutions."""
    road = _branches(road, lambda *parts: [part for part in parts if part != _GELU])
    return _swap(road, {Add.spec(activation=Activation.GELU): Add.spec()})


def fewer_norms(road: Road) -> Road:
    """One in a block, before its two 1 x 1 convolutions; what follows the norm is now an MLP."""

    def lessen(conv: Spec[Any], norm: Spec[Any], inner: Spec[Any], last: Spec[Any]) -> Sequence[Spec[Any]]:
        return (conv, norm, MLP.spec() if conv.cls is DepthwiseConv else inner.but(parts=[_GELU], bias=True))

    return _branches(road, lessen)


def layer_norm(road: Road) -> Road:
    """Layer norms instead of batch norms; the convolutions before them get biases."""
    convs = (ConvMerge, DepthwiseConv, DepthwiseMerge)
    road = _everywhere(road, lambda spec: spec.but(bias=True) if spec.cls in convs else spec)
    return _swap(road, {BN: _LN})


def separate_downsampling(road: Road) -> Road:
    """A norm and a 2 x 2 convolution with stride 2 between stages, not strided blocks; norms after stem and pooling."""
    first, *stages = road["stages"]
    stages = [[*blocks, first[0]] for blocks in stages]
    merges = [ConvMerge.spec(norm=_LN)] * len(stages)
    head = Classifier.spec(pool=NormedPool.spec(norm=_LN))
    return road.but(stages=[first, *stages], merges=merges, embed=road["embed"].but(norm=_LN), head=head)


def layer_scale(road: Road) -> Road:
    """A learned factor for each channel of a branch, 1e-6 at first (training recipe, table 5). This is ConvNeXt-T."""
    return _swap(road, {Add.spec(): LayerScale.spec(inner=Add.spec())})


STEPS: tuple[Callable[[Road], Road], ...] = (
    stage_ratio, patchify_stem, depthwise_convolution, width_96, inverted_bottleneck, depthwise_moved_up, kernel_7,
    gelu, fewer_activations, fewer_norms, layer_norm, separate_downsampling, layer_scale,
)  # fmt: skip


def _everywhere(value: Any, change: Callable[[Spec[Any]], Spec[Any]]) -> Any:
    """A change made to every spec of a tree, children first."""
    if isinstance(value, Spec):
        return change(value.but(**{name: _everywhere(child, change) for name, child in value.args}))
    return tuple(_everywhere(child, change) for child in value) if isinstance(value, tuple) else value


def _swap(road: Road, swaps: dict[Spec[Any], Spec[Any]]) -> Road:
    """Specs put in place of others, wherever these stand."""
    return _everywhere(road, lambda spec: swaps.get(spec, spec))


def _branches(road: Road, change: Callable[..., Sequence[Spec[Any]]]) -> Road:
    """A change made to the parts of every branch: (*parts) -> parts."""
    kinds = (Branch, ResidualMerge)
    return _everywhere(road, lambda spec: spec.but(parts=change(*spec["parts"])) if spec.cls in kinds else spec)
