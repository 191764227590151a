"""A small GPT with the normalization placements that people use: what feeds a norm, and what not.

Which matrices are scale invariant decides what weight decay can do to them, so placement is the
one thing that varies here; everything else is the plain recipe (Radford et al. 2019, learned
positions, GELU, no biases, untied head).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from etalambda._common import check_positive, unknown

PLACEMENTS = ("pre", "post", "peri")


class Attention(nn.Module):
    """Causal attention; with ``qk_norm`` queries and keys are normalized by head."""

    def __init__(self, width: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts
        if self.qk_norm:
            q, k = (F.rms_norm(t, t.shape[-1:]) for t in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention and MLP with residuals, normalized before, after, or on both sides."""

    def __init__(self, width: int, heads: int, placement: str, qk_norm: bool) -> None:
        super().__init__()
        self.placement = placement
        self.attention = Attention(width, heads, qk_norm)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )
        count = 4 if placement == "peri" else 2
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        for index, part in enumerate((self.attention, self.mlp)):
            if self.placement == "post":
                x = self.norms[index](x + part(x))
            else:
                change = part(self.norms[index](x))
                x = x + (self.norms[index + 2](change) if self.placement == "peri" else change)
        return x


class GPT(nn.Module):
    """A character- or byte-level language model of a few hundred thousand weights.

    Args:
        vocabulary: Number of tokens.
        width: Of the residual stream; a multiple of ``heads``.
        depth: Blocks.
        heads: Of each attention.
        context: Longest input.
        placement: Of the norms: "pre", "post" or "peri" (before and after, as in recent models).
        qk_norm: Normalize queries and keys: then the q and k matrices are scale invariant too.

    Shape:
        ``tokens`` (B, L) of integers gives logits (B, L, vocabulary).

    Raises:
        ValueError: If the placement is unknown or ``heads`` does not divide ``width``.

    Example:
        >>> import torch
        >>> GPT(vocabulary=11, width=8, depth=1, heads=2)(torch.zeros(3, 5, dtype=torch.long)).shape
        torch.Size([3, 5, 11])
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        context: int = 64,
        *,
        placement: str = "pre",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        check_positive(vocabulary=vocabulary, width=width, depth=depth, heads=heads)
        if placement not in PLACEMENTS:
            raise unknown("placement", placement, PLACEMENTS)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, placement, qk_norm) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)
        for name, p in self.named_parameters():  # what is added to the residual stream
            if name.endswith(("attention.out.weight", "mlp.2.weight")):
                nn.init.normal_(p, std=0.02 / (2 * depth) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(f"the input has {length} tokens, the context is {self.context}")
        x = self.tokens(tokens) + self.positions.weight[:length]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
