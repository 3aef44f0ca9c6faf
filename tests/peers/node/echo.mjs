// Echoes bytes to all clients in one event loop.
//
//     node echo.mjs [PORT]              default 8888; 0 is any free port
import net from 'node:net';

// allowHalfOpen: when the client ends its direction, Node must not end ours
// by itself. Bytes may still have to be written; then `pipe` ends it.
const server = net.createServer({ allowHalfOpen: true, noDelay: true });
server.on('connection', (socket) => {
  socket.on('error', (error) => console.error(error.message));
  socket.pipe(socket); // it does not read while the kernel has no room
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
