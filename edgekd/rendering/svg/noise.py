"""What quantization adds at each layer, in the order in which the network computes: where int8 hurts."""

from collections.abc import Collection, Sequence

from markupsafe import Markup

from edgekd.quantization import NodeSignal
from edgekd.rendering.svg.drawing import AXIS_HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, drawing, span, tag, x_axis, y_axis
from edgekd.rendering.text import clean

BOTTOM = 200.0


def noise_by_layer(
    layers: Sequence[NodeSignal], *, worst: Sequence[NodeSignal], left_float: Collection[str] = ()
) -> Markup:
    """Draw signal to noise in dB by place in the network; `worst` are numbered, from 1. "" without layers."""
    if not layers:
        return Markup("")
    x = Scale(0.0, len(layers) + 1.0, LEFT, WIDTH - RIGHT)
    low, high = span([layer.sqnr_db for layer in layers], padding=0.12)
    y = Scale(min(low, 0.0), high, BOTTOM, TOP)
    points = [(x(index), y(layer.sqnr_db)) for index, layer in enumerate(layers, start=1)]
    about = min(5, len(layers) + 1)
    said = "; ".join(f"{clean(layer.node, longest=40)} {layer.sqnr_db:.1f} dB" for layer in worst)
    return drawing(
        "Signal to quantization noise by layer",
        f"{len(layers)} layers; the worst are {said}.",
        x_axis(x, "layer, in the order of the network (count)", top=TOP, bottom=BOTTOM, about=about),
        y_axis(y, "signal to noise (dB)", left=LEFT, right=WIDTH - RIGHT),
        tag("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), class_="thread"),
        *(
            tag("circle", cx=a, cy=b, r=3, class_=f"{'ring' if layer.node in left_float else 'dot'} shipped")
            for layer, (a, b) in zip(layers, points, strict=True)
        ),
        *(
            tag("text", str(rank), x=a, y=b + 17, text_anchor="middle", class_="point-name shipped")
            for rank, (a, b) in enumerate((points[layers.index(layer)] for layer in worst), start=1)
        ),
        height=BOTTOM + AXIS_HEIGHT,
    )
