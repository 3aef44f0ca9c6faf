// Sends each TEXT in a frame, and prints the replies, a line each.
//
//     node framed_client.mjs PORT [TEXT]...
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
import net from 'node:net';

const [ECHO, ECHO_REPLY, ERROR] = [0x01, 0x81, 0x7f];

function send(socket, texts) {
  for (const text of texts) {
    const payload = Buffer.from(text); // as UTF-8
    const header = Buffer.alloc(5);
    header.writeUInt32BE(1 + payload.length);
    header[4] = ECHO;
    socket.write(Buffer.concat([header, payload]));
  }
  socket.end(); // FIN, after all of them
}

function check(kind, payload) {
  if (kind === ERROR) { // a code and a text, as JSON: no terminal obeys it
    const text = JSON.stringify(payload.toString('utf8', 1, 201));
    throw new Error(`the server answered with error ${payload[0]}: ${text}`);
  }
  if (kind !== ECHO_REPLY) throw new Error(`the server sent the kind ${kind}`);
}

async function receive(socket, expected) {
  let input = Buffer.alloc(0); // what belongs to no whole reply yet
  let received = 0;
  for await (const chunk of socket) {
    input = Buffer.concat([input, chunk]);
    while (input.length >= 4) {
      const length = input.readUInt32BE();
      if (length === 0 || length > 65536) {
        throw new Error(`the server sent the length ${length}`);
      }
      if (input.length < 4 + length) break; // more of it is on its way
      const payload = input.subarray(5, 4 + length);
      check(input[4], payload);
      received += 1;
      if (received > expected) throw new Error('a reply to no message');
      process.stdout.write(Buffer.concat([payload, Buffer.from('\n')]));
      input = input.subarray(4 + length);
    }
  }
  if (input.length > 0) throw new Error('the end, in the middle of a reply');
  if (received < expected) {
    throw new Error(`${received} replies to ${expected} messages`);
  }
}

const [port, ...texts] = process.argv.slice(2);
if (texts.some((text) => Buffer.byteLength(text) > 65535)) {
  console.error('a TEXT has more than 65535 bytes');
  process.exit(1);
}
// noDelay: a small frame need not wait for the reply to the one before.
const address = { host: '127.0.0.1', port: Number(port), noDelay: true };
const socket = net.connect(address);
send(socket, texts); // what cannot leave yet is queued, and so we read
try {
  await receive(socket, texts.length);
} catch (error) {
  socket.destroy();
  console.error(`127.0.0.1:${port}: ${error.message}`);
  process.exitCode = 1;
}
