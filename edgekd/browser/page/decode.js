// An image file's own pixels: upright, in the numbers that the file holds.

const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/**
 * Decode an image.
 *
 * @param {Blob | ImageData} source
 * @returns {Promise<{rgba: Uint8ClampedArray, height: number, width: number}>} (height, width, 4)
 */
export async function decode(source) {
  const bitmap = await createImageBitmap(source, AS_STORED);
  try {
    const { height, width } = bitmap;
    const painted = paint(bitmap);
    return { rgba: isOpaque(painted) ? painted : await straight(bitmap), height, width };
  } finally {
    bitmap.close();
  }
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
