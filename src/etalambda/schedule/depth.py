"""Where in a model a tensor sits: before, in, or after its chain of repeated blocks.

Found by structure: a ``ModuleList`` or ``Sequential`` of two or more modules of one class, each
with children of its own, is a chain of blocks; nested chains count as part of their block. Chains
are numbered through in the order of registration (a ResNet's four stages, an encoder and then a
decoder), and what is registered before the first block is the stem, after the last the head.
"""

from collections.abc import Iterator

from torch import nn


def block_prefixes(model: nn.Module, prefix: str = "") -> Iterator[str]:
    """The dotted name of every block, in the order of registration.

    >>> block = lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> list(block_prefixes(nn.Sequential(nn.Linear(1, 2), nn.Sequential(block(), block()))))
    ['1.0.', '1.1.']
    """
    children = list(model.named_children())
    if isinstance(model, nn.ModuleList | nn.Sequential) and len(children) >= 2:
        first = children[0][1]
        if all(type(c) is type(first) and any(True for _ in c.children()) for _, c in children):
            yield from (f"{prefix}{name}." for name, _ in children)
            return
    for name, child in children:
        yield from block_prefixes(child, f"{prefix}{name}.")


def depths(model: nn.Module) -> tuple[dict[nn.Parameter, int], int]:
    """The depth of every tensor, and the depth of the head.

    Returns:
        ``(depth, last)``: 0 for the stem, i for the i-th of n blocks (and for what is registered
        between it and the next), n + 1 = ``last`` for what comes after the blocks.
    """
    prefixes = list(block_prefixes(model))
    last, now, found = len(prefixes) + 1, 0, {}
    for name, param in model.named_parameters():
        inside = [i for i, prefix in enumerate(prefixes, 1) if name.startswith(prefix)]
        if inside:
            now = inside[0]
        elif now == last - 1:
            now = last
        found[param] = now
    return found, last


def output_layers(model: nn.Module) -> set[nn.Parameter]:
    """Weights of the output layer: the last ``Linear`` that lies outside the blocks, after them.

    Empty for a bare backbone, whose last ``Linear`` lies inside a block.
    """
    prefixes = tuple(block_prefixes(model))
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names or (prefixes and names[-1].startswith(prefixes)):
        return set()
    # All its matrices: under a parametrization the weight has another name.
    return {p for p in model.get_submodule(names[-1]).parameters() if p.ndim > 1}
