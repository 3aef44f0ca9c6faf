// Echoes framed messages, to all clients in one event loop.
//
//     node framed_server.mjs [PORT]     default 8888; 0 is any free port
//
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
import net from 'node:net';
import { promisify } from 'node:util';

const [ECHO, ECHO_REPLY, ERROR] = [0x01, 0x81, 0x7f];

function frame(kind, payload) {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(1 + payload.length);
  header[4] = kind;
  return Buffer.concat([header, Buffer.from(payload)]);
}

// Takes all whole frames off the input. Returns the replies, what is left,
// and whether the client is in step: after a bad length no frame is found.
function reply(input) {
  const replies = [];
  while (input.length >= 4) {
    const length = input.readUInt32BE();
    if (length === 0 || length > 65536) { // its 4 bytes suffice to refuse it
      replies.push(frame(ERROR, length ? '\x01too long' : '\x02length 0'));
      return { replies, rest: input, inStep: false };
    }
    if (input.length < 4 + length) break; // more of it is on its way
    const payload = input.subarray(5, 4 + length);
    if (input[4] === ECHO) replies.push(frame(ECHO_REPLY, payload));
    else replies.push(frame(ERROR, '\x03unknown kind'));
    input = input.subarray(4 + length);
  }
  return { replies, rest: input, inStep: true };
}

async function serve(socket) {
  const write = promisify(socket.write.bind(socket));
  let [rest, inStep] = [Buffer.alloc(0), true];
  for await (const chunk of socket) { // closes the socket after the last
    if (!inStep) continue; // discarded
    const result = reply(Buffer.concat([rest, chunk]));
    [rest, inStep] = [result.rest, result.inStep];
    // Many replies, one write. Until the kernel has taken it, we do not read
    // on: a client that reads no replies must not fill our memory with them.
    await write(Buffer.concat(result.replies));
    if (!inStep) {
      // A close with bytes unread sends RST, and the client may lose the
      // ERROR. So we end our direction, and discard for one second in all.
      socket.end();
      setTimeout(() => socket.destroy(), 1000);
    }
  }
}

// allowHalfOpen: when the client ends its direction, Node must not end ours
// by itself. Replies may still have to be written.
const server = net.createServer({ allowHalfOpen: true, noDelay: true });
server.on('connection', (socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on('error', () => {}); // serve() reports it; unheard, it would end us
  serve(socket).catch((error) => console.error(`${peer}: ${error.message}`));
});
// Without descriptors, libuv itself drops the new client: no need for a pause.
server.on('error', (error) => {
  console.error(error.message);
  if (!server.listening) process.exitCode = 1;
});
const port = Number(process.argv[2] ?? 8888);
server.listen({ host: '127.0.0.1', port, backlog: 1024 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
