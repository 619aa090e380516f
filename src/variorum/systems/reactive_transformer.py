"""Reactive Transformer (RxT). Filipek 2025, arXiv:2510.03561.

A conversation is a row of events. The decoder answers a turn from that turn alone and from a short-term memory, slots
of fixed number for every layer; after the answer, behind the user's back, a smaller encoder reads the turn and memory
attention writes it into the slots. So N turns of T tokens cost N T and not N^2 T. What differs from the plain
encoder-decoder: the encoder comes last, each decoder layer attends to slots of its own, and these outlive the turn.

Pre-RMSNorm, SwiGLU, experts in the decoder only, one embedding for both; in all attention half of the query heads are
left out (Sparse Query Attention, Filipek 2025, arXiv:2510.01817). Slots have no order: where they are read only the
queries are turned, where they are written only the keys (the latter from the authors' model cards). Stages of training
are in ``adapt.remembering``, the cycle with its update behind in ``runtime.conversation``.

The paper tells parameters only. ``nano`` (12M) and ``micro`` (26M) have the widths of the authors' model cards, which
call them Micro and Micro Plus. ``mini`` has the widths of the cards of Mini, which tell of 60M in the decoder and 11M
in the encoder, slots counted with both. With memory attention that is 72M, where the paper says 100M; nothing tells
what the other 28M are. Of Synthetic (160M) no source tells a width, so that it is not here.
The paper's gate is "a small network": here one matrix, the same for all slots. (The cards have weights for every slot,
which would give slots an order.) The order of self and interlayer attention is not sure; here interlayer comes first.
"""

from enum import StrEnum

from variorum.core import Channel, Layer, Spec, entry
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mixture import Mixture
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.cross_attention import CrossAttention, Turned
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.positions.rotary import Rotary
from variorum.layers.residuals.gated import GatedResidual, Squash
from variorum.layers.routers.topk import TopK
from variorum.models.blocks.block import Block
from variorum.models.blocks.memory_attention import MemoryAttention
from variorum.models.conversational import Conversational
from variorum.models.short_term_memory import ShortTermMemory


class Variant(StrEnum):
    """What slots attend to before the turn is written into them: nothing, each other, other layers, or both."""

    SIMPLE = "simple"
    SELF = "self"
    INTERLAYER = "interlayer"
    BOTH = "self and interlayer"


@entry(
    "reactive-transformer",
    sizes={
        "nano": {"dim": 128, "depth": 6, "heads": 8, "slots": 256, "experts": 12, "variant": Variant.INTERLAYER},
        "micro": {"dim": 128, "depth": 10, "heads": 8, "slots": 256, "experts": 20, "k": 4, "variant": Variant.BOTH},
        "mini": {"dim": 256, "depth": 8, "heads": 16, "slots": 1024, "experts": 16, "variant": Variant.BOTH},
    },
    fits={
        "text pairs": [
            {"dim": dim, "depth": depth, "heads": 8, "slots": 32, "experts": 4} for dim, depth in ((64, 2), (128, 2))
        ]
    },
)
def reactive_transformer(
    *,
    dim: int,
    depth: int,
    heads: int,
    slots: int,
    experts: int = 1,
    k: int = 2,
    variant: Variant = Variant.INTERLAYER,
    squash: Squash = Squash.SIGMOID,
) -> Spec[Conversational]:
    """``heads`` of dim / heads channels, of which half ask; ``k`` of ``experts`` for a token, one has no router."""
    asking, wide = heads // 2, dim // heads
    attend = Attention.spec(heads=asking, head_dim=wide, qkv_bias=False, out_bias=False)
    turned = attend.but(rotation=Rotary.spec())
    to_slots = CrossAttention.spec(heads=asking, head_dim=wide)
    expert = GLU.spec(hidden=2 * dim)
    channels: Spec[Channel] = (
        expert if experts == 1 else Mixture.spec(experts=[expert] * experts, router=TopK.spec(k=k))
    )
    read = Block.spec(mixer=turned, channels=GLU.spec(hidden=3 * dim), norm=RMSNorm.spec())
    write = Block.spec(mixer=turned.but(pattern=Causal.spec()), cross=to_slots, channels=channels, norm=RMSNorm.spec())
    return Conversational.spec(
        dim=dim, embed=TokenEmbed.spec(), reading=[read] * depth, writing=[write] * depth,
        memory=memory(attend, to_slots.but(turned=Turned.KEYS), slots, Variant(variant), Squash(squash)),
        head=Unembed.spec(),
    )  # fmt: skip


def memory(
    among: Spec[Attention], of_turn: Spec[CrossAttention], slots: int, variant: Variant, squash: Squash
) -> Spec[ShortTermMemory]:
    """Slots, and the memory attention that a turn is written with; a gate after each of its steps."""
    gate = GatedResidual.spec(squash=squash)
    own: Spec[Layer] = Block.spec(mixer=among, channels=None, norm=RMSNorm.spec(), residual=gate)
    between: Spec[Layer] = MemoryAttention.spec(mixer=among, residual=gate)
    return ShortTermMemory.spec(
        slots=slots,
        write=MemoryAttention.spec(mixer=of_turn, residual=gate),
        own=own if variant in (Variant.SELF, Variant.BOTH) else None,
        between=between if variant in (Variant.INTERLAYER, Variant.BOTH) else None,
    )
