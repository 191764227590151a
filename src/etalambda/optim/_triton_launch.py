"""Launching one Triton kernel again and again with the same arguments.

Triton looks at every argument of every launch to find the variant compiled for it, which takes
longer than a small kernel runs. The first launch returns that variant; as long as the arguments are
the very same tensors and numbers, the others go to it directly.
"""

from typing import Any

from torch import Tensor


class Launch:
    """A kernel, the number of its programs, and its arguments by name, in any order.

    Args:
        kernel: A function of ``triton.jit``.
        programs: How many programs run.
        arguments: Tensors, numbers and constants of the kernel, by their names.
        options: What Triton takes beside them, as ``num_warps``.
    """

    def __init__(
        self, kernel: Any, programs: int, arguments: dict[str, Any], **options: Any
    ) -> None:
        self.kernel, self.grid, self.options = kernel, (programs, 1, 1), options
        self.arguments = arguments  # keeps the tensors alive whose addresses are passed
        self.handle: Any = None

    def __call__(self) -> None:
        if self.handle is not None:
            self.handle(*self.values)
            return
        compiled = self.kernel[self.grid](**self.arguments, **self.options)
        if _takes_constants() and hasattr(compiled, "__getitem__"):  # not so in the interpreter
            named = [self.arguments[name] for name in self.kernel.arg_names]
            self.values = [x.data_ptr() if isinstance(x, Tensor) else x for x in named]
            self.handle = compiled[self.grid]


def _takes_constants() -> bool:
    """Whether compiled kernels take all arguments, constants among them: from Triton 3.3 on."""
    import triton  # type: ignore[import-not-found, missing-import]

    major, minor, *_ = triton.__version__.split(".")
    return (int(major), int(minor)) >= (3, 3)
