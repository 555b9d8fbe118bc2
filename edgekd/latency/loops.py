"""How often the loops of ONNX Runtime's Arm kernels turn for a node: a reading of its published sources (MLAS).

A kernel is named after what decides which code runs: operator, precision, layout, alignment of channels. What one turn
of each loop costs is fitted to counts (`edgekd.latency.costs`); here is only how many turns there are.
"""

from math import ceil
from typing import Literal

from edgekd.latency.extent import Extent
from edgekd.latency.graph import NodeCost

Level = Literal["neon", "dotprod"]
"""`neon`: Armv8.0, int8 by widening multiplies. `dotprod`: Armv8.2 SDOT, also for x86 VNNI, which does as much."""
Loops = dict[str, float]

_TILE = {
    ("neon", "convolution"): (4, 1, 4, 16),
    ("neon", "product"): (4, 1, 4, 16),
    ("dotprod", "convolution"): (4, 4, 16, 16),
    ("dotprod", "product"): (8, 1, 8, 8),
}
"""Most and fewest rows, columns and depth of a tile of the integer product: read off the multiplications counted."""
_SYMMETRIC = {"neon": (8, 8), "dotprod": (4, 16)}
"""What input and output channels of the indirect integer convolution must be multiples of."""
_INTEGER_NAME = {"MaxPool": "NhwcMaxPool"} | {
    name: f"QLinear{name}"
    for name in ("Add", "Mul", "Concat", "Sigmoid", "Softmax", "LeakyRelu", "AveragePool", "GlobalAveragePool")
}
"""What the runtime makes of float operators that are looked at as if they were quantized."""
_PRODUCTS = frozenset(("gemm", "matmul"))


def loops(node: NodeCost, level: Level) -> tuple[str, Loops]:
    """Return the kernel that runs a node and how often each of its loops turns."""
    if node.operator == "view":
        return "view", {"node": 1.0}
    if not node.extent:
        return flat(node)
    int8 = node.precision == "int8"
    if node.operator.startswith("conv_") and node.type not in ("ConvTranspose", "ConvInteger"):
        return _integer_convolution(node.extent, level) if int8 else _float_convolution(node.extent)
    if node.operator in _PRODUCTS and "rows" in node.extent:
        return _integer_product(node, level) if int8 else _float_product(node.extent)
    if node.operator == "recurrent":
        return _recurrence(node)
    if "pieces" in node.extent:
        return _plain(node)
    return flat(node)


def flat(node: NodeCost) -> tuple[str, Loops]:
    """Return the stand-in for kernels that were never counted: their class, by multiply-accumulates and elements."""
    precision = "int8" if node.precision == "int8" else "fp32"
    found = {
        "node": 1.0,
        "macs": node.macs,
        "read": node.elements_read,
        "written": node.elements_written,
        "weights": node.weights,
    }
    return f"{node.operator}/{precision}", found


def _float_convolution(size: Extent) -> tuple[str, Loops]:
    images, groups = size["batch"], size["groups"]
    kernel = size["kernel_height"] * size["kernel_width"]
    filters, depth = size["outside"], size["inside"] * kernel
    pixels = size["height"] * size["width"]
    times = images * groups
    passes = {0: "", 1: "relu", 2: "clip", 3: "activated"}[size["activation"]]
    found: Loops = {"node": 1, "group": times, "written": times * filters * pixels, "filters": times * filters}
    if passes:
        found[passes] = times * filters * pixels
    if size["bias"]:
        found["biased"] = times * filters * pixels
    if size["sum"]:
        found["summed"] = times * filters * pixels
    if kernel == 1 and size["stride"] == 1 and not size["padded"]:
        name = "pointwise"
    elif filters > pixels:
        name = "expanded"
    elif filters == size["inside"] == 1 and _three_by_three(size):
        inner = max(size["width"] - 2, 0)
        found["vectors"] = times * size["height"] * (inner // 4)
        found["singles"] = times * size["height"] * (inner % 4 + 2)
        found["rows"] = times * size["height"]
        return f"Conv/fp32/depthwise{'_thin' if size['width'] < 3 else ''}", found
    else:
        name = "segmented"
    if name != "pointwise":
        found |= {key: times * turns for key, turns in _gathered(size).items()}
    found |= {key: times * turns for key, turns in _float_tiles(filters, pixels, depth, packed=False).items()}
    return f"Conv/fp32/{name}{'_row' if filters == 1 else ''}", found


def _gathered(size: Extent) -> Loops:
    """Turns of the copy of what a convolution's taps see: rows inside and outside the image, and in those inside the
    elements, the elements left over from vectors of four, and the zeros beside."""
    rows = _seen(size["height"], size["kernel_height"], size)
    columns = _seen(size["width"], size["kernel_width"], size)
    inner = size["inside"] * sum(rows)
    outer = size["inside"] * (size["height"] * size["kernel_height"] - sum(rows)) * size["kernel_width"]
    found: Loops = {
        "rows": inner * sum(count > 0 for count in columns),
        "rows_blank": inner * sum(count == 0 for count in columns),
        "rows_outside": outer,
        "elements": inner * sum(columns),
        "zeros": inner * (size["width"] * len(columns) - sum(columns)),
    }
    if size["stride"] > 1:
        return {f"strided_{name}": turns for name, turns in found.items()}
    return {**found, "singles": inner * sum(count % 4 for count in columns)}


def _seen(outputs: int, kernel: int, size: Extent) -> list[int]:
    """How many outputs each tap of a kernel has an input for, along one axis."""
    stride, apart = size["stride"], 1 + size["dilated"]
    pad = apart * (kernel // 2) if size["padded"] else 0
    inputs = (outputs - 1) * stride + apart * (kernel - 1) + 1 - 2 * pad
    seen = []
    for tap in range(kernel):
        first = max(-(-(pad - apart * tap) // stride), 0)
        last = min((inputs - 1 + pad - apart * tap) // stride, outputs - 1)
        seen.append(max(last - first + 1, 0))
    return seen


def _three_by_three(size: Extent) -> bool:
    square = size["kernel_height"] == size["kernel_width"] == 3
    return square and size["stride"] == 1 and not size["dilated"]


def _float_tiles(rows: int, columns: int, depth: int, *, packed: bool) -> Loops:
    """Turns of the float product: tiles of 4 rows by 16 columns, the second factor copied in panels unless packed."""
    wide, deep = 128, 256 if packed else 128
    if columns >= depth:
        while not packed and deep // 2 >= depth and deep > 1:
            wide, deep = wide * 2, deep // 2
    else:
        while not packed and wide > 16 and wide // 2 >= columns:
            wide, deep = wide // 2, deep * 2
    full, rest = divmod(columns, 16)
    fours, left = divmod(rows, 4)
    thin = left // 2 + left % 2
    slices = ceil(depth / deep)
    if rows == 1 and not packed:
        # One row is not worth copying the second factor.
        return {
            "row_quads": depth * ceil(columns / 4),
            "row_blocks": depth * (columns // 16 + columns % 16 // 4 + columns % 4),
            "row_panels": slices * (columns // 16 + columns % 16 // 4 + columns % 4),
            "row_slices": slices * ceil(columns / wide),
        }
    found: Loops = {
        "tiles": depth * full * fours,
        "halves": depth * ceil(rest / 8) * fours,
        "thin": depth * (full + ceil(rest / 8) / 2) * thin,
        "panels": slices * (full + (rest > 0)) * (fours + thin),
        "stored": slices * rows * columns,
        "edges": slices * rows * rest.bit_count(),
    }
    if not packed:
        found["copied"] = depth * columns
        found["copied_rows"] = depth * ceil(columns / wide)
        found["copied_edges"] = depth * (columns % 16)
    return found


def _float_product(size: Extent) -> tuple[str, Loops]:
    rows, columns, depth, batch = size["rows"], size["columns"], size["inner"], size["batch"]
    stored = bool(size["stored"])
    found: Loops = {"node": 1, "batch": batch, "biased": batch * rows * columns * size["bias"]}
    if size["activation"]:
        found["activated"] = batch * rows * columns
    found |= {key: batch * turns for key, turns in _float_tiles(rows, columns, depth, packed=stored).items()}
    edge = "_row" if rows == 1 else "_column" if columns == 1 else ""
    return f"MatMul/fp32/{'stored' if stored else 'turned' if size['turned'] else 'plain'}{edge}", found


def _integer_convolution(size: Extent, level: Level) -> tuple[str, Loops]:
    groups, inside, outside = size["groups"], size["inside"], size["outside"]
    taps = size["kernel_height"] * size["kernel_width"]
    pixels = size["batch"] * size["height"] * size["width"]
    channels = groups * outside
    found: Loops = {"node": 1, "channels": channels, "written": pixels * channels}
    layout = ""
    if not size["last"]:
        layout = "_first"
        found["turned"] = pixels * channels + pixels * size["stride"] ** 2 * groups * inside
    if groups > 1 and inside == outside == 1:
        found |= {"taps": pixels * taps, "pixels": pixels, "vectors": pixels * taps * (channels // 8)}
        found |= {"outputs": pixels * (channels // 8), "half_taps": pixels * taps * (channels % 16 > 7)}
        found["left_vectors"] = pixels % 4 * taps * (channels // 8)
        found["left_outputs"] = pixels % 4 * (channels // 8)
        if channels % 8:
            found |= {"singles": pixels * taps * (channels % 8), "left": pixels * (channels % 8)}
            return f"QLinearConv/int8/depthwise_odd{layout}", found
        special = taps in (9, 25) and channels % 16 == 0
        return f"QLinearConv/int8/depthwise_{taps if special else 'other'}{layout}", found
    even, packs = _SYMMETRIC[level]
    if groups == 1 and taps > 1 and inside >= 64 and inside % even == outside % packs == 0:
        rows, columns = ceil(pixels / (4 if level == "dotprod" else 2)), ceil(outside / packs)
        found |= {"taps": pixels * taps, "tiles": rows * columns * taps * ceil(inside / 4)}
        found |= {"panels": rows * columns * taps, "outputs": rows * columns}
        return f"QLinearConv/int8/indirect{layout}", found
    found |= {
        key: groups * turns
        for key, turns in _integer_tiles(pixels, outside, inside * taps, _TILE[level, "convolution"]).items()
    }
    found["groups"] = groups
    if taps == 1 and size["stride"] == 1 and not size["padded"]:
        return f"QLinearConv/int8/pointwise{layout}", found
    down = sum(_seen(size["height"], size["kernel_height"], size)) * size["width"] * size["batch"]
    across = sum(_seen(size["width"], size["kernel_width"], size)) / size["width"]
    found |= {"gathered": groups * inside * down * across, "copied_taps": groups * pixels * taps}
    if groups == 1 and not size["dilated"]:
        found |= {"pieces": down, "pieces_outside": pixels * size["kernel_height"] - down}
        return f"QLinearConv/int8/gathered{layout}", found
    found |= {"pieces": groups * down * across, "pieces_outside": groups * (pixels * taps - down * across)}
    return f"QLinearConv/int8/grouped{layout}", found


def _integer_tiles(rows: int, columns: int, depth: int, tile: tuple[int, int, int, int]) -> Loops:
    """Turns of the integer product: tiles as high as they get, then of half the rows, and so on to the lowest."""
    high, low, wide, deep = tile
    across, down = ceil(columns / wide), ceil(depth / deep)
    found: Loops = {"copied": rows * depth, "copied_rows": rows, "panels": 0.0}
    found["edges"] = rows * (columns % wide).bit_count()
    found["singles"] = rows * (columns % 4)
    rows = low * ceil(rows / low)
    while high >= low:
        times, rows = divmod(rows, high)
        found[f"tiles_{high}"] = times * across * down
        found["panels"] += times * across
        high //= 2
    return found


def _pooled(size: Extent, written: int) -> Loops:
    """A pool goes down the rows of its kernel first, then along them; with the channels last, tap by tap."""
    pieces, across, run = size["pieces"], size["across"], size["run"]
    if size["kind"]:
        taps = pieces * run
        return {"taps": taps, "vectors": taps * (across // 16), "singles": taps * (across % 16)}
    return {"taps": written * run, "down": pieces * across * run // size["side"], "along": written * size["side"]}


def _integer_product(node: NodeCost, level: Level) -> tuple[str, Loops]:
    size = node.extent
    rows, columns, depth, batch = size["rows"], size["columns"], size["inner"], size["batch"]
    found: Loops = {"node": 1, "batch": batch, "written": batch * rows * columns, "columns": batch * columns}
    found |= {
        key: batch * turns for key, turns in _integer_tiles(rows, columns, depth, _TILE[level, "product"]).items()
    }
    if not size["stored"]:
        found["packed"] = batch * depth * columns
    types = {"Gemm": "QGemm", "FusedGemm": "QGemm", "MatMul": "QLinearMatMul", "FusedMatMul": "QLinearMatMul"}
    name = types.get(node.type, node.type)
    return f"{name}/int8/{'stored' if size['stored'] else 'plain'}{'_row' if rows == 1 else ''}", found


def _recurrence(node: NodeCost) -> tuple[str, Loops]:
    size = node.extent
    steps = size["steps"] * size["batch"] * size["directions"]
    wide = size["gates"] * size["hidden"]
    found: Loops = {
        "node": 1,
        "steps": steps,
        "inputs": steps * size["inside"] * wide,
        "states": steps * size["hidden"] * wide,
        "gates": steps * wide,
        "weights": wide * (size["inside"] + size["hidden"]),
    }
    return f"{node.type}/{node.precision}", found


def _plain(node: NodeCost) -> tuple[str, Loops]:
    """Operators without sums of products: their elements, and the rows in which they go through them."""
    size = node.extent
    precision = "int8" if node.precision == "int8" else "fp32"
    lanes = 16 if precision == "int8" else 4
    found: Loops = {
        "node": 1,
        "written": node.elements_written,
        "read": node.elements_read,
        "pieces": size["pieces"],
        "tails": size["pieces"] * (size["run"] % lanes),
    }
    if node.type == "Transpose" and size["kind"] in (2, 3):
        down, across = size["pieces"] // 8, size["run"] // 8
        found["blocks"] = down * across
        found["rests"] = node.elements_written - 64 * down * across
    if "side" in size:
        found |= _pooled(size, node.elements_written)
    name = _INTEGER_NAME.get(node.type, node.type) if precision == "int8" else node.type
    # Pools that step over more than two elements do not go by vectors.
    return f"{name}/{precision}/{size['kind']}{'_apart' if size.get('stride', 1) > 2 else ''}", found
