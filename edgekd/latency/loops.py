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
        return "Conv/fp32/depthwise", found
    else:
        name = "segmented"
    if name != "pointwise":
        apart = "apart" if size["stride"] > 1 else "gathered"
        found[apart] = times * depth * pixels
        found[f"{apart}_rows"] = times * depth * size["height"]
    found |= {key: times * turns for key, turns in _float_tiles(filters, pixels, depth, packed=False).items()}
    return f"Conv/fp32/{name}{'_row' if filters == 1 else ''}", found


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
    found: Loops = {
        "tiles": depth * full * fours,
        "halves": depth * ceil(rest / 8) * fours,
        "thin": depth * (full + ceil(rest / 8) / 2) * thin,
        "panels": slices * (full + (rest > 0)) * (fours + thin),
        "stored": slices * rows * columns,
        "edges": slices * rows * rest,
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
        vectors = ceil(channels / 16)
        found |= {"taps": pixels * taps, "pixels": pixels}
        found |= {"vectors": pixels * vectors * taps, "outputs": pixels * vectors, "edges": pixels * (channels % 16)}
        if channels % 8:
            return f"QLinearConv/int8/depthwise_odd{layout}", found
        return f"QLinearConv/int8/depthwise_{taps if taps in (9, 25) else 'other'}{layout}", found
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
    together = inside * size["kernel_width"] if groups == 1 and not size["dilated"] else inside
    found["gathered"] = groups * pixels * inside * taps
    found["pieces"] = groups * pixels * inside * taps / together
    name = "gathered" if groups == 1 else "grouped"
    return f"QLinearConv/int8/{name}{layout}", found


def _integer_tiles(rows: int, columns: int, depth: int, tile: tuple[int, int, int, int]) -> Loops:
    """Turns of the integer product: tiles as high as they get, then of half the rows, and so on to the lowest."""
    high, low, wide, deep = tile
    across, down = ceil(columns / wide), ceil(depth / deep)
    found: Loops = {"copied": rows * depth, "copied_rows": rows, "edges": rows * (columns % wide), "panels": 0.0}
    rows = low * ceil(rows / low)
    while high >= low:
        times, rows = divmod(rows, high)
        found[f"tiles_{high}"] = times * across * down
        found["panels"] += times * across
        high //= 2
    return found


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
    if node.operator == "pool":
        found["taps"] = node.elements_written * size["run"]
    name = _INTEGER_NAME.get(node.type, node.type) if precision == "int8" else node.type
    return f"{name}/{precision}/{size['kind']}", found
