// Step 2/3 server, Node, that listens on ::ffff:127.0.0.1, which is 127.0.0.1.
const net = require('net');
const i = process.argv[2].lastIndexOf(':');
const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (s) => { s.on('error', () => {}); s.pipe(s); });
server.listen({ host: '::ffff:' + process.argv[2].slice(0, i), port: +process.argv[2].slice(i + 1), backlog: 1024 }, () =>
  console.log(`listening on [${server.address().address}]:${server.address().port}`));
