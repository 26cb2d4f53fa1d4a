#!/usr/bin/env python3
"""Runs random int8 layers in TensorFlow Lite's interpreter and writes down what went in and what came out.

Each case is a model of one layer, a real .tflite flatbuffer. README.md says how the files look and how to read the results.
"""

import argparse
import importlib
import importlib.metadata
import math
import random
import struct
import sys
from pathlib import Path

import numpy
from ai_edge_litert import schema_py_generated as schema
import flatbuffers

MAGIC = b"EIGTFL01"

# The interpreters: where each lives, how often its FULLY_CONNECTED reference kernel rounds, and whether that layer may have
# a scale for each row.
PEERS = {
    "ai-edge-litert": ("ai_edge_litert.interpreter", 1, True),
    "tflite-runtime": ("tflite_runtime.interpreter", 2, False),
}
RESOLVERS = {"reference": "BUILTIN_REF", "optimised": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "default": "AUTO"}

# The numbers of layers in the files.
CONV, DEPTHWISE, DENSE, DENSE_AS_CONV, MAX_POOL, AVERAGE_POOL, ADD = range(7)
# The files, and which layers each holds. A dense layer is run twice, the second time as a convolution.
FILES = {
    "conv": [CONV],
    "depthwise": [DEPTHWISE],
    "dense": [DENSE, DENSE_AS_CONV],
    "max_pool": [MAX_POOL],
    "average_pool": [AVERAGE_POOL],
    "add": [ADD],
}
OPERATORS = {
    CONV: schema.BuiltinOperator.CONV_2D,
    DEPTHWISE: schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    DENSE: schema.BuiltinOperator.FULLY_CONNECTED,
    DENSE_AS_CONV: schema.BuiltinOperator.CONV_2D,
    MAX_POOL: schema.BuiltinOperator.MAX_POOL_2D,
    AVERAGE_POOL: schema.BuiltinOperator.AVERAGE_POOL_2D,
    ADD: schema.BuiltinOperator.ADD,
}
ACTIVATIONS = [
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU6,
]
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID

# Real multipliers that the arithmetic under test can express: below a half, and a shift of 22 at most.
LEAST, MOST = 2.0**-23, 0.5


class Case:
    """One layer, its numbers, and later its output."""

    def __init__(self, layer, samples, shape):
        self.layer = layer
        self.activation = ACTIVATIONS[0]
        self.padding = VALID
        self.samples = samples
        self.shape = shape
        self.kernel = (1, 1)
        self.stride = (1, 1)
        # Scale and zero point of the input, of the second one, and of the output.
        self.grids = [(0.0, 0)] * 3
        self.weight_scales = []
        self.filter_shape = []
        self.weights = b""
        self.biases = []
        self.inputs = [b"", b""]
        self.output_shape = (0, 0, 0)
        self.output = b""

    def packed(self):
        """The case as it lies in a file."""
        head = struct.pack("<4B", self.layer, self.activation, self.padding, 0)
        head += struct.pack("<11H", self.samples, *self.shape, *self.output_shape, *self.kernel, *self.stride)
        head += b"".join(struct.pack("<fb", scale, zero) for scale, zero in self.grids)
        parts = [
            (len(self.weight_scales), struct.pack(f"<{len(self.weight_scales)}f", *self.weight_scales)),
            (len(self.weights), self.weights),
            (len(self.biases), struct.pack(f"<{len(self.biases)}i", *self.biases)),
            *((len(part), part) for part in self.inputs),
            (len(self.output), self.output),
        ]
        return head + b"".join(struct.pack("<I", count) + part for count, part in parts)


def single(value):
    """The float32 next to a number."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


class Dice(random.Random):
    """Random numbers that depend on the seed alone: not on numpy's version, and not on the other cases."""

    def log_uniform(self, low, high):
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def int8(self, count, low=-128, high=127):
        return bytes(value & 255 for value in self.choices(range(low, high + 1), k=count))

    def zero_point(self):
        return self.choice([self.randint(-128, 127), self.randint(-128, 127), -128, 0, 127])

    def activations(self, count, zero):
        """The whole range; or a few steps about the zero point, so that accumulators are small and multipliers large.
        And how far from the zero point the values lie, as the root of the mean square."""
        if self.random() < 0.75:
            return self.int8(count), math.hypot(74.0, zero)
        return self.int8(count, max(-128, zero - 3), min(127, zero + 3)), 2.0


def sides(dice, window):
    """A window's kernel, strides and padding, and the image's sides; the kernel fits an image without padding."""
    kernel = window(dice)
    stride = (dice.randint(1, 3), dice.randint(1, 3)) if dice.random() < 0.5 else (1, 1)
    padding = dice.choice([SAME, VALID])
    low = kernel if padding == VALID else (1, 1)
    return kernel, stride, padding, tuple(dice.randint(least, max(least, 9)) for least in low)


def conv_window(dice):
    side = dice.randint(2, 9)
    return dice.choice([(1, 1), (3, 3), (3, 3), (5, 5), (side, 1), (1, side), (2, 4)])


def depthwise_window(dice):
    side = dice.randint(2, 9)
    return dice.choice([(3, 3), (3, 3), (5, 5), (side, 1), (1, 1), (2, 3)])


def pool_window(dice):
    return dice.choice([(2, 2), (3, 3), (dice.randint(1, 6), dice.randint(1, 6))])


def small_ratio(dice, scale):
    """A small odd number times a power of two, at most the scale. Of such scales real values often are ties, or are ties but for
    what rounding a multiplier loses: there ways of rounding differ."""
    odd = dice.choice([1, 1, 3, 5, 7, 9])
    return odd * 2.0 ** math.floor(math.log2(scale / odd))


def grid(dice, is_tied, low, high):
    scale = dice.log_uniform(low, high)
    return (small_ratio(dice, scale) if is_tied else single(scale)), dice.zero_point()


def weigh(dice, case, channels, taps, weight_count, is_per_channel):
    """Weights, biases and scales, so that outputs spread over the int8 range."""
    is_tied = dice.random() < 0.4
    (s_in, z_in), (s_out, z_out) = grid(dice, is_tied, 2**-9, 0.5), grid(dice, is_tied, 2**-7, 1.0)
    case.grids = [(s_in, z_in), (0.0, 0), (s_out, z_out)]
    inputs, width = dice.activations(case.samples * math.prod(case.shape), z_in)
    case.inputs[0] = inputs
    largest = dice.choice([2, 15, 127, 127])
    case.weights = dice.int8(weight_count, -largest, largest)

    spread = math.sqrt(taps) * width * largest * 0.6
    is_tiny = dice.random() < 0.1
    for _ in range(channels if is_per_channel else 1):
        wanted = dice.log_uniform(LEAST, 2.0**-14) if is_tiny else dice.uniform(4, 50) / spread
        wanted = min(max(wanted, LEAST * 1.01), MOST * 0.99)
        weight_scale = wanted * s_out / s_in
        if is_tied:
            weight_scale = small_ratio(dice, weight_scale)
            weight_scale *= 2.0 if weight_scale * s_in / s_out < LEAST else 1.0
        case.weight_scales.append(single(weight_scale))
    for channel in range(channels):
        factor = s_in * case.weight_scales[channel if is_per_channel else 0] / s_out
        assert LEAST <= factor < MOST * (1 - 2.0**-30), factor
        reach = 150 if is_tiny else dice.choice([0, 30, 80, 150])
        reach = min(int(reach / factor), 1 << 29)
        case.biases.append(dice.randint(-reach, reach))
    case.activation = dice.choice(ACTIVATIONS)


def conv(dice):
    kernel, stride, padding, image = sides(dice, conv_window)
    inputs, outputs = dice.randint(1, 9), dice.randint(1, 9)
    case = Case(CONV, dice.randint(1, 2), (*image, inputs))
    case.kernel, case.stride, case.padding = kernel, stride, padding
    case.filter_shape = [outputs, *kernel, inputs]
    weigh(dice, case, outputs, math.prod(kernel) * inputs, math.prod(case.filter_shape), dice.random() < 0.75)
    return [case]


def depthwise(dice):
    kernel, stride, padding, image = sides(dice, depthwise_window)
    channels = dice.randint(1, 9)
    case = Case(DEPTHWISE, dice.randint(1, 3), (*image, channels))
    case.kernel, case.stride, case.padding = kernel, stride, padding
    case.filter_shape = [1, *kernel, channels]
    weigh(dice, case, channels, math.prod(kernel), math.prod(case.filter_shape), dice.random() < 0.75)
    return [case]


def dense(dice, may_be_per_channel):
    inputs, outputs = dice.randint(1, 40), dice.randint(1, 24)
    case = Case(DENSE, dice.randint(1, 24), (1, 1, inputs))
    case.filter_shape = [outputs, inputs]
    weigh(dice, case, outputs, inputs, outputs * inputs, dice.random() < 0.5 and may_be_per_channel)
    same = Case(DENSE_AS_CONV, case.samples, case.shape)
    same.filter_shape = [outputs, 1, 1, inputs]
    for name in ["grids", "weight_scales", "weights", "biases", "inputs", "activation"]:
        setattr(same, name, getattr(case, name))
    return [case, same]


def pool(dice, layer):
    kernel, stride, padding, image = sides(dice, pool_window)
    is_global = layer == AVERAGE_POOL and dice.random() < 0.3
    if is_global:
        image = (dice.randint(1, 12), dice.randint(1, 12))
        kernel, stride, padding = image, dice.choice([(1, 1), image]), VALID
    case = Case(layer, dice.randint(1, 2) + 4 * is_global, (*image, dice.randint(1, 9)))
    case.kernel, case.stride, case.padding = kernel, stride, padding
    # Pooling keeps the grid, and its values do not depend on it.
    scale, zero = grid(dice, False, 2**-9, 0.5)
    case.grids = [(scale, zero), (0.0, 0), (scale, zero)]
    low = dice.randint(-128, 127)
    # Narrow ranges make averages close to halves, on both sides of zero.
    high = dice.choice([127, 127, min(127, low + 3)])
    case.inputs[0] = dice.int8(case.samples * math.prod(case.shape), low if high != 127 else -128, high)
    return [case]


def add(dice):
    case = Case(ADD, dice.randint(1, 2), (dice.randint(1, 9), dice.randint(1, 9), dice.randint(1, 9)))
    is_tied = dice.random() < 0.4
    first = grid(dice, is_tied, 2**-9, 0.5)
    ratio = dice.choice([1.0, dice.log_uniform(0.5, 2.0), dice.log_uniform(2**-7, 2**7)])
    other = grid(dice, is_tied, first[0] * ratio, first[0] * ratio)
    if ratio == 1.0:
        other = (first[0], other[1])
    largest = max(first[0], other[0])
    case.grids = [first, other, grid(dice, is_tied, largest * 0.25, largest * 7.0)]
    case.activation = dice.choice(ACTIVATIONS)
    count = case.samples * math.prod(case.shape)
    case.inputs = [dice.activations(count, zero)[0] for _, zero in case.grids[:2]]
    return [case]


def cases(name, seed, index, may_be_per_channel):
    dice = Dice(f"{seed} {name} {index}")
    return {
        "conv": lambda: conv(dice),
        "depthwise": lambda: depthwise(dice),
        "dense": lambda: dense(dice, may_be_per_channel),
        "max_pool": lambda: pool(dice, MAX_POOL),
        "average_pool": lambda: pool(dice, AVERAGE_POOL),
        "add": lambda: add(dice),
    }[name]()


def options(case):
    """The operator's options in the flatbuffer."""
    kinds = schema.BuiltinOptions
    if case.layer == DENSE:
        kind, found = kinds.FullyConnectedOptions, schema.FullyConnectedOptionsT()
    elif case.layer == ADD:
        kind, found = kinds.AddOptions, schema.AddOptionsT()
    else:
        if case.layer in (MAX_POOL, AVERAGE_POOL):
            kind, found = kinds.Pool2DOptions, schema.Pool2DOptionsT()
            found.filterHeight, found.filterWidth = case.kernel
        elif case.layer == DEPTHWISE:
            kind, found = kinds.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT()
            found.depthMultiplier = 1
            found.dilationHFactor = found.dilationWFactor = 1
        else:
            kind, found = kinds.Conv2DOptions, schema.Conv2DOptionsT()
            found.dilationHFactor = found.dilationWFactor = 1
        found.strideH, found.strideW = case.stride
        found.padding = case.padding
    found.fusedActivationFunction = case.activation
    return kind, found


def model(case):
    """The case as a .tflite file, and its numbers of inputs."""
    buffers = [schema.BufferT()]
    tensors = []

    def tensor(name, shape, kind, scales, zero, data=None, axis=0):
        found = schema.TensorT()
        found.name, found.shape, found.type = name, list(shape), kind
        found.quantization = schema.QuantizationParametersT()
        found.quantization.scale = list(scales)
        found.quantization.zeroPoint = [zero] * len(scales)
        found.quantization.quantizedDimension = axis
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = numpy.frombuffer(data, numpy.uint8)
            found.buffer = len(buffers)
            buffers.append(buffer)
        tensors.append(found)
        return len(tensors) - 1

    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    shape = [case.samples, case.shape[2]] if case.layer == DENSE else [case.samples, *case.shape]
    (s_in, z_in), (s_other, z_other), (s_out, z_out) = case.grids
    inputs = [tensor("input", shape, int8, [s_in], z_in)]
    feeds = list(inputs)
    if case.layer == ADD:
        feeds.append(tensor("other", shape, int8, [s_other], z_other))
        inputs = list(feeds)
    if case.biases:
        axis = 3 if case.layer == DEPTHWISE else 0
        inputs.append(tensor("weights", case.filter_shape, int8, case.weight_scales, 0, case.weights, axis))
        data = struct.pack(f"<{len(case.biases)}i", *case.biases)
        steps = [single(s_in * scale) for scale in case.weight_scales]
        inputs.append(tensor("biases", [len(case.biases)], int32, steps, 0, data))
    # The interpreter finds the output's real shape by itself.
    output = tensor("output", [1] * len(shape), int8, [s_out], z_out)

    operator = schema.OperatorT()
    operator.inputs, operator.outputs = inputs, [output]
    operator.builtinOptionsType, operator.builtinOptions = options(case)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = feeds, [output]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = OPERATORS[case.layer]
    # The versions that brought int8, and for a dense layer scales for each row.
    code.version = {ADD: 2, MAX_POOL: 2, AVERAGE_POOL: 2, DENSE: 4}.get(case.layer, 3)
    whole = schema.ModelT()
    whole.version, whole.buffers, whole.subgraphs, whole.operatorCodes = 3, buffers, [graph], [code]
    builder = flatbuffers.Builder(4096)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output()), shape


def run(case, interpreters, resolver):
    content, shape = model(case)
    interpreter = interpreters.Interpreter(
        model_content=content, experimental_op_resolver_type=resolver, num_threads=1
    )
    interpreter.allocate_tensors()
    for details, values in zip(interpreter.get_input_details(), case.inputs):
        interpreter.set_tensor(details["index"], numpy.frombuffer(values, numpy.int8).reshape(shape))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    case.output = found.astype(numpy.int8).tobytes()
    case.output_shape = (1, 1, found.shape[1]) if case.layer == DENSE else found.shape[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--cases", type=int, default=40, help="cases of each layer (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default %(default)s)")
    parser.add_argument("--peer", choices=PEERS, default="ai-edge-litert", help="which interpreter (default %(default)s)")
    parser.add_argument("--resolver", choices=RESOLVERS, default="reference", help="which kernels (default %(default)s)")
    parser.add_argument("--layers", nargs="+", choices=FILES, default=list(FILES), help="which files (default: all)")
    arguments = parser.parse_args()

    module, dense_roundings, may_be_per_channel = PEERS[arguments.peer]
    interpreters = importlib.import_module(module)
    resolver = interpreters.OpResolverType[RESOLVERS[arguments.resolver]]
    version = importlib.metadata.version(arguments.peer)
    text = f"{arguments.peer} {version}, {arguments.resolver} kernels, seed {arguments.seed}, {arguments.cases} cases"
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.layers:
        parts = [MAGIC + struct.pack("<BH", dense_roundings, len(text)) + text.encode()]
        outputs = 0
        for index in range(arguments.cases):
            for case in cases(name, arguments.seed, index, may_be_per_channel):
                run(case, interpreters, resolver)
                parts.append(case.packed())
                outputs += len(case.output)
        path = arguments.out / f"{name}.vectors"
        path.write_bytes(b"".join(parts))
        print(f"{path}: {arguments.cases} cases, {outputs} outputs, {path.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
