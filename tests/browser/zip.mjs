// Files as a ZIP, the same bytes whenever it is made: the date of each is 1980.
// The format: APPNOTE.TXT of PKWARE, 4.3.7 (local header), 4.3.12 (central
// header) and 4.3.16 (the end).

import { deflateRawSync } from "node:zlib";

const table = Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte >>> 0;
});
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => table[(crc ^ byte) & 255] ^ (crc >>> 8), -1) >>> 0;

// [bytes of the number, the number], … as one little-endian buffer.
const numbers = (...fields) => Buffer.concat(fields.map(([size, value]) => {
  const field = Buffer.alloc(size);
  field.writeUIntLE(value, 0, size);
  return field;
}));

const fields = (file) => numbers([2, 20], [2, 0x800], [2, file.method], [2, 0], [2, 0x21],
  [4, file.crc], [4, file.packed.length], [4, file.size], [2, file.name.length], [2, 0]);

// `files`: [name, text or bytes], in the order that they shall have. The first
// one stays as it is: an EPUB wants to be known by it.
export function zip(files) {
  const parts = [];
  const central = [];
  let at = 0;
  files.forEach(([path, content], i) => {
    const bytes = Buffer.from(content);
    const file = { name: Buffer.from(path), size: bytes.length, crc: crc32(bytes), method: i === 0 ? 0 : 8 };
    file.packed = i === 0 ? bytes : deflateRawSync(bytes, { level: 9 });
    const local = Buffer.concat([numbers([4, 0x04034b50]), fields(file), file.name, file.packed]);
    central.push(numbers([4, 0x02014b50], [2, 20]), fields(file), numbers([2, 0], [2, 0], [2, 0], [4, 0], [4, at]), file.name);
    parts.push(local);
    at += local.length;
  });
  const size = central.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = numbers([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, at], [2, 0]);
  return Buffer.concat([...parts, ...central, end]);
}
