// Sends a greeting and prints what the server answers.
//
//     node hello.mjs [PORT]                        the default is 8888
import net from 'node:net';

const port = Number(process.argv[2] ?? 8888);
const socket = net.connect({ host: '127.0.0.1', port });
socket.end('Hello, Server!'); // sends it, then FIN: that was all
for await (const data of socket) process.stdout.write(data); // to the end
console.log();
