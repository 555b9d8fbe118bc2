// From a decoded image to the model's input, as preprocess.json says and as the training data were made.

import { resize } from "./resize.js";

/** Whether the model's input can be made from an image. */
export function takesImages(how) {
  return !how.identity && (how.channels === 1 || how.channels === 3);
}

/**
 * Bring an image to the model's size and number of channels.
 *
 * @param {{rgba: Uint8ClampedArray, height: number, width: number}} image (height, width, 4)
 * @returns {{pixels: Uint8Array, height: number, width: number, channels: number}} (height, width, channels)
 */
export function fit(image, how) {
  const coloured = withChannels(image, how.channels);
  if (image.height === how.height && image.width === how.width) return coloured;
  if (how.crop === null) return resize(coloured, how.height, how.width, how.resize);
  const box = { height: roundHalfEven(how.height / how.crop), width: roundHalfEven(how.width / how.crop) };
  const { height, width } = covering(image, box);
  return crop(resize(coloured, height, width, how.resize), how.height, how.width);
}

/**
 * Scale fitted pixels (height, width, channels) to what the model was trained on.
 *
 * @returns {Float32Array} (channels, height, width); rounded after each step as numpy does with float32
 */
export function normalise({ pixels, height, width, channels }, how) {
  const { fround } = Math;
  const unit = how.scale === "0..1" ? 255 : 1;
  const plane = height * width;
  const result = new Float32Array(channels * plane);
  for (let channel = 0; channel < channels; channel += 1) {
    const std = fround(how.std[channel]);
    const gain = fround(1 / fround(unit * std));
    const shift = fround(fround(-how.mean[channel]) / std);
    const source = how.order === "bgr" ? channels - 1 - channel : channel;
    for (let at = 0; at < plane; at += 1) {
      result[channel * plane + at] = fround(pixels[at * channels + source] * gain) + shift;
    }
  }
  return result;
}

/** Colour, or grey with the weights of ITU-R 601-2 in sixteen bits; transparency is left out of account. */
function withChannels({ rgba, height, width }, channels) {
  const pixels = new Uint8Array(height * width * channels);
  for (let at = 0; at < height * width; at += 1) {
    const [red, green, blue] = [rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]];
    if (channels === 1) pixels[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else [pixels[3 * at], pixels[3 * at + 1], pixels[3 * at + 2]] = [red, green, blue];
  }
  return { pixels, height, width, channels };
}

/** The size of an image, its proportions kept, made just large enough to cover a box. */
function covering({ height, width }, box) {
  if (width * box.height <= height * box.width) {
    return { height: Math.max(box.height, Math.trunc((box.width * height) / width)), width: box.width };
  }
  return { height: box.height, width: Math.max(box.width, Math.trunc((box.height * width) / height)) };
}

function crop(image, height, width) {
  const { channels } = image;
  const top = roundHalfEven((image.height - height) / 2);
  const left = roundHalfEven((image.width - width) / 2);
  const pixels = new Uint8Array(height * width * channels);
  for (let row = 0; row < height; row += 1) {
    const start = ((top + row) * image.width + left) * channels;
    pixels.set(image.pixels.subarray(start, start + width * channels), row * width * channels);
  }
  return { pixels, height, width, channels };
}

/** As Python rounds: halves to the even neighbour. */
function roundHalfEven(x) {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
