// From a file to what the model for apps takes: an image's own pixels, upright, in the numbers that the file holds, or a
// sound's samples.

const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/**
 * Decode an image.
 *
 * @param {Blob | ImageData} source
 * @param {number} channels 3, or 1 for grey
 * @returns {Promise<{raw: {type: string, data: Uint8Array, shape: number[]}, size: string, picture: ImageData}>} `raw` is
 *   (height, width, channels); transparency is left out of account
 */
export async function decodeImage(source, channels) {
  const bitmap = await createImageBitmap(source, AS_STORED);
  try {
    const { height, width } = bitmap;
    const painted = paint(bitmap);
    const rgba = isOpaque(painted) ? painted : await straight(bitmap);
    const raw = { type: "uint8", data: withChannels(rgba, channels), shape: [height, width, channels] };
    return { raw, size: `${width} x ${height}`, picture: new ImageData(painted, width, height) };
  } finally {
    bitmap.close();
  }
}

/**
 * Decode a sound; the browser resamples it.
 *
 * @param {Blob} source
 * @param {number} rate of the model, in Hz
 * @returns {Promise<{raw: {type: string, data: Float32Array, shape: number[]}, size: string}>} (frames), channels mixed
 */
export async function decodeSound(source, rate) {
  const audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await source.arrayBuffer());
  const channels = Array.from({ length: audio.numberOfChannels }, (_, at) => audio.getChannelData(at));
  const data = channels[0].map((_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
  return { raw: { type: "float32", data, shape: [data.length] }, size: `${audio.duration.toFixed(2)} s` };
}

/** Pixels (height, width, channels) as an image that can be decoded. */
export function imageOf({ data, shape: [height, width, channels] }) {
  const picture = new ImageData(width, height);
  for (let at = 0; at < height * width; at += 1) {
    for (let channel = 0; channel < 3; channel += 1) picture.data[4 * at + channel] = data[at * channels + (channel % channels)];
    picture.data[4 * at + 3] = 255;
  }
  return picture;
}

function paint(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

function isOpaque(rgba) {
  for (let at = 3; at < rgba.length; at += 4) if (rgba[at] !== 255) return false;
  return true;
}

/** The colours of transparent pixels, which a canvas keeps only multiplied by their opacity. */
async function straight(bitmap) {
  if (!("VideoFrame" in globalThis)) throw new Error("this browser does not tell the colours of transparent pixels");
  const frame = new VideoFrame(bitmap, { timestamp: 0 });
  const pixels = new Uint8ClampedArray(frame.allocationSize());
  await frame.copyTo(pixels);
  const swapped = frame.format === "BGRA";
  if (!swapped && frame.format !== "RGBA") throw new Error(`this browser keeps transparent pixels as ${frame.format}`);
  frame.close();
  for (let at = 0; swapped && at < pixels.length; at += 4) [pixels[at], pixels[at + 2]] = [pixels[at + 2], pixels[at]];
  return pixels;
}

/** Colour, or grey with the weights of ITU-R 601-2 in sixteen bits, as Pillow has them. */
function withChannels(rgba, channels) {
  const pixels = new Uint8Array((rgba.length / 4) * channels);
  for (let at = 0; at < rgba.length / 4; at += 1) {
    const [red, green, blue] = [rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]];
    if (channels === 1) pixels[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else [pixels[3 * at], pixels[3 * at + 1], pixels[3 * at + 2]] = [red, green, blue];
  }
  return pixels;
}
