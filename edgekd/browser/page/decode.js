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
  const { height, width } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  return isOpaque(rgba) ? { rgba, height, width } : decodeTransparent(source);
}

function isOpaque(rgba) {
  for (let at = 3; at < rgba.length; at += 4) if (rgba[at] !== 255) return false;
  return true;
}

/** A canvas keeps colours multiplied by their opacity, and where nothing is opaque, none. */
async function decodeTransparent(blob) {
  if (!("ImageDecoder" in globalThis)) {
    throw new Error("this browser does not give the colours of transparent pixels; take an image without transparency");
  }
  const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type: blob.type, ...AS_STORED });
  const { image } = await decoder.decode();
  const rgba = new Uint8ClampedArray(image.allocationSize({ format: "RGBA" }));
  await image.copyTo(rgba, { format: "RGBA" });
  const { height, width } = image.visibleRect;
  image.close();
  decoder.close();
  return { rgba, height, width };
}
