"""The plot of what quantization adds at each layer."""

from edgekd.rendering.plots import Plot
from edgekd.rendering.quantization import shown_file
from edgekd.rendering.svg.noise import noise_by_layer
from edgekd.rendering.text import clean
from edgekd.results import Report

NUMBERED = 3


def noise_plot(report: Report) -> Plot | None:
    """Signal to noise at each layer of the int8 file that shipped, or else of the first that has any."""
    file = shown_file(report)
    if file is None or len(file.layers) < 2:
        return None
    worst = sorted(file.layers, key=lambda one: one.sqnr_db)[:NUMBERED]
    drawn = noise_by_layer(file.layers, worst=worst, left_float=file.left_float)
    names = ", ".join(f"{rank} {clean(layer.node, longest=40)}" for rank, layer in enumerate(worst, start=1))
    caption = f"{clean(file.scheme)}, with the noise of all layers before; 20 dB is a tenth. The worst: {names}."
    if any(layer.node in file.left_float for layer in file.layers):
        caption += " Rings were left float."
    return Plot("Noise by layer", drawn, caption)
