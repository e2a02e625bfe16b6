#!/usr/bin/node
// The greeter in JavaScript: the protocol by hand, with Node's own modules only.
// Answers are written to descriptor 1 itself; console.log would end up among them, so it is
// pointed at stderr, the handler's log.
import { readSync, writeSync } from "node:fs";

console.log = console.error;

// `size` bytes of stdin; fewer only when it ends.
function readExactly(size) {
  const data = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const count = readSync(0, data, filled, size - filled);
    if (count === 0) break;
    filled += count;
  }
  return data.subarray(0, filled);
}

// The body of the next frame; null when stdin ended before it.
function readFrame() {
  const header = readExactly(4);
  if (header.length === 0) return null;
  if (header.length < 4) throw new Error("the input ended inside a length");
  const size = header.readInt32BE(); // Signed, big endian.
  const body = readExactly(size);
  if (body.length < size) throw new Error("the input ended inside a frame");
  return body;
}

// Event.data is field 1, bytes (tag 0x0a); empty data leaves the whole field out.
function eventData(body) {
  if (body.length === 0) return body;
  if (body[0] !== 0x0a) throw new Error("not an event");
  let at = 1;
  while (body[at] >= 0x80) at += 1; // The length: the data is all that follows it.
  return body.subarray(at + 1);
}

function varint(value) {
  const bytes = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

// Result.data is field 2, bytes (tag 0x12). Status 0 and no variables: nothing to write.
function writeResult(data) {
  const field = data.length > 0 ? [Buffer.from([0x12]), varint(data.length), data] : [];
  const body = Buffer.concat(field);
  const header = Buffer.alloc(4);
  header.writeInt32BE(body.length);
  const frame = Buffer.concat([header, body]);
  for (let sent = 0; sent < frame.length; ) sent += writeSync(1, frame, sent);
}

for (let event = readFrame(); event !== null; event = readFrame()) {
  if (readFrame() === null) throw new Error("an event without its execution context");
  writeResult(Buffer.concat([Buffer.from("Hello, "), eventData(event), Buffer.from("!")]));
}
