"""What the encoders that run on PyTorch share: the device, and how many items it takes at a time.

On a CPU one thread runs one item at a time, so that a vector depends on its item alone, bit for bit. A GPU takes
batches, and the last bits of a vector depend on its kind and on the batch; docs/kinds/embeddings.md says what guards.
"""

from __future__ import annotations

from typing import Any, Final

from dedupver.fingerprint.encoders.files import package

TOGETHER: Final = 64
"""Items a GPU takes at a time."""


class Device:
    """The first GPU that PyTorch can use, or the CPU; `CUDA_VISIBLE_DEVICES=` hides the GPU."""

    def __init__(self) -> None:
        """Settle what the process's PyTorch computes with."""
        self.torch: Any = package("torch")
        self.torch.set_num_threads(1)  # workers are processes
        self.name = "cuda" if self.torch.cuda.is_available() else "cpu"
        if self.name == "cuda":
            self.torch.backends.cudnn.allow_tf32 = False  # 10 bits of a number's 23
            self.torch.backends.cuda.matmul.allow_tf32 = False
        self.batch = TOGETHER if self.name == "cuda" else 1

    def blocks(self, items: Any) -> Any:
        """Give the items, some at a time."""
        return (items[start : start + self.batch] for start in range(0, len(items), self.batch))
