// Arrays as numpy's savez writes them: a zip archive of one .npy file per array.

const TYPES = {
  "<f4": { bytes: 4, make: (buffer) => new Float32Array(buffer) },
  "<i8": { bytes: 8, make: (buffer) => new BigInt64Array(buffer) },
  "|u1": { bytes: 1, make: (buffer) => new Uint8Array(buffer) },
};
const [END, ENTRY] = [0x06054b50, 0x02014b50];

/**
 * Read an .npz file.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Promise<Map<string, {data: Float32Array | BigInt64Array | Uint8Array, shape: number[]}>>} by name, in order
 */
export async function readArrays(buffer) {
  const arrays = new Map();
  for (const { name, start, size, packed } of members(new DataView(buffer))) {
    const stored = buffer.slice(start, start + size);
    arrays.set(name.replace(/\.npy$/, ""), readArray(packed ? await inflate(stored) : stored));
  }
  return arrays;
}

/** The archive's members, from the directory at its end. */
function* members(view) {
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw new Error("the archive of vectors has no end");
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    if (view.getUint32(at, true) !== ENTRY) throw new Error("the archive of vectors is damaged");
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const header = view.getUint32(at + 42, true);
    yield {
      name: new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, name)),
      start: header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true),
      size: view.getUint32(at + 20, true),
      packed: view.getUint16(at + 10, true) !== 0,
    };
    at += 46 + name + extra + comment;
  }
}

async function inflate(buffer) {
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}

function readArray(buffer) {
  const view = new DataView(buffer);
  const [at, length] = view.getUint8(6) === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, at, length));
  const type = TYPES[/'descr': '([^']*)'/.exec(header)?.[1]];
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1].match(/\d+/g) ?? []).map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  if (!type || !header.includes("'fortran_order': False") || buffer.byteLength - at - length !== count * type.bytes) {
    throw new Error("the archive of vectors holds an array of a kind that this page does not read");
  }
  return { data: type.make(buffer.slice(at + length)), shape };
}
