// Step 2/3 server, Node, without an 'error' listener: a reset ends it.
const net = require('net');
const i = process.argv[2].lastIndexOf(':');
const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (s) => { s.on('data', (d) => s.write(d)); s.on('end', () => s.end()); });
server.on('error', (e) => { console.error(`${process.argv[2]}: ${e.code}`); process.exit(1); });
server.listen({ host: process.argv[2].slice(0, i), port: +process.argv[2].slice(i + 1), backlog: 1024 }, () =>
  console.log(`listening on ${server.address().address}:${server.address().port}`));
