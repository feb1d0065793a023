// A zip file of files that are compressed already (stored, PKWARE APPNOTE 6.3.10), made without a library.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});
const MOST_BYTES = 0xffffffff; // beyond it a zip takes another form

function crc32(bytes) {
  let value = -1;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

/** Numbers of 2 or 4 bytes, little-endian: [[value, bytes], …]. */
function packed(numbers) {
  return Uint8Array.from(numbers.flatMap(([value, length]) => Array.from({ length }, (_, i) => (value >>> (8 * i)) & 255)));
}

/** The files ({name, blob}) in one zip, as a Blob. Names that are there twice get a number. */
export async function zip(files) {
  const [parts, directory] = [[], []];
  const taken = new Set();
  let offset = 0;
  let directoryBytes = 0;
  for (const { name, blob } of files) {
    const encoded = new TextEncoder().encode(unique(name, taken));
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    // Version 2.0, UTF-8 name, stored, 1980-01-01: a file says nothing of when it was made.
    const common = [[20, 2], [0x0800, 2], [0, 2], [0, 2], [0x21, 2], [crc, 4], [blob.size, 4], [blob.size, 4], [encoded.length, 2], [0, 2]];
    parts.push(packed([[0x04034b50, 4], ...common]), encoded, blob);
    directory.push(packed([[0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]), encoded);
    offset += 30 + encoded.length + blob.size;
    directoryBytes += 46 + encoded.length;
    if (offset + directoryBytes > MOST_BYTES) throw new RangeError("the zip would be larger than 4 GB");
  }
  const count = files.length;
  const end = packed([[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [directoryBytes, 4], [offset, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function unique(name, taken) {
  const dot = name.lastIndexOf(".");
  let found = name;
  for (let number = 2; taken.has(found.toLowerCase()); number++) found = `${name.slice(0, dot)} ${number}${name.slice(dot)}`;
  taken.add(found.toLowerCase());
  return found;
}
