"""The three models as somebody would write them by hand in plain torch, as lean as it goes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Fused projections and torch's own attention."""

    def __init__(self, dim: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, dim = x.shape
        q, k, v = (t.view(batch, n, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(dim, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(batch, n, dim))


class Layer(nn.Module):
    """Attention and a feed-forward network, each normed before it or after it."""

    def __init__(self, dim: int, heads: int, *, causal: bool = False, post: bool = False) -> None:
        super().__init__()
        self.post = post
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads, causal=causal)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.down(F.gelu(self.up(x))))
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Tokens and positions, pre-norm causal layers, a norm, scores of the vocabulary."""

    def __init__(self, dim: int, depth: int, heads: int, length: int, vocab: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, dim), nn.Parameter(0.02 * torch.randn(length, dim))
        self.layers = nn.Sequential(*(Layer(dim, heads, causal=True) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.token(ids) + self.position[: ids.shape[1]])))


class BERT(nn.Module):
    """Tokens and positions, post-norm layers, scores of a few labels for each token."""

    def __init__(self, dim: int, depth: int, heads: int, length: int, vocab: int, labels: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocab, dim), nn.Parameter(0.02 * torch.randn(length, dim))
        self.layers = nn.Sequential(*(Layer(dim, heads, post=True) for _ in range(depth)))
        self.head = nn.Linear(dim, labels, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.token(ids) + self.position[: ids.shape[1]]))


class ViT(nn.Module):
    """Patches after a class token, positions, pre-norm layers, scores of the classes read from the class token."""

    def __init__(self, dim: int, depth: int, heads: int, size: int, patch: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.position = nn.Parameter(0.02 * torch.randn((size // patch) ** 2 + 1, dim))
        self.layers = nn.Sequential(*(Layer(dim, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.layers(x))[:, 0])
