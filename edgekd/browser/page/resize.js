// Resizing as Pillow 13 does it, bit for bit: antialiased, one direction after the other, in whole numbers. A canvas
// resizes in another way, which costs a model score. Pillow before 13 always went across first, which rounds otherwise.

const BITS = 22; // of a weight, as in Pillow's Resample.c
const HALF = 1 << (BITS - 1);

const FILTERS = {
  bilinear: { support: 1, weight: (x) => (x < 1 ? 1 - x : 0) },
  bicubic: {
    support: 2,
    weight(x) {
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
};

/**
 * Bring an image to another size.
 *
 * @param {{pixels: Uint8Array, height: number, width: number, channels: number}} image (height, width, channels)
 * @param {"bilinear" | "bicubic"} filter
 */
export function resize(image, height, width, filter) {
  const { channels } = image;
  const across = (from, rows) => resample(from, rows, image.width, channels, width, FILTERS[filter]);
  const down = (from, columns) => resample(from, 1, image.height, columns * channels, height, FILTERS[filter]);
  const lost = image.height - height;
  const downFirst = lost > 0 && lost > 2 * (image.width - width);
  const pixels = downFirst
    ? across(down(image.pixels, image.width), height)
    : down(across(image.pixels, image.height), width);
  return { pixels, height, width, channels };
}

/** Resample the middle one of three axes, (outer, from, inner) to (outer, to, inner). */
function resample(pixels, outer, from, inner, to, filter) {
  if (from === to) return pixels;
  const result = new Uint8Array(outer * to * inner);
  for (let at = 0; at < to; at += 1) {
    const { first, weights } = weightsOf(at, from, to, filter);
    for (let row = 0; row < outer; row += 1) {
      const source = (row * from + first) * inner;
      const target = (row * to + at) * inner;
      for (let i = 0; i < inner; i += 1) {
        let sum = HALF;
        for (let k = 0; k < weights.length; k += 1) sum += pixels[source + k * inner + i] * weights[k];
        result[target + i] = Math.min(255, Math.max(0, sum >> BITS));
      }
    }
  }
  return result;
}

/** The samples that make up sample `at` of the result: the first one's place, and weights that sum to 2 ** BITS. */
function weightsOf(at, from, to, filter) {
  const scale = from / to;
  const spread = Math.max(1, scale);
  const centre = (at + 0.5) * scale;
  const reach = filter.support * spread;
  const first = Math.max(0, Math.trunc(centre - reach + 0.5));
  const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - first;
  const distance = (k) => Math.abs((k + first - centre + 0.5) * (1 / spread));
  const exact = Array.from({ length: count }, (_, k) => filter.weight(distance(k)));
  const sum = exact.reduce((total, weight) => total + weight, 0);
  const weights = exact.map((weight) => Math.trunc((weight / sum) * 2 ** BITS + (weight < 0 ? -0.5 : 0.5)));
  return { first, weights };
}
