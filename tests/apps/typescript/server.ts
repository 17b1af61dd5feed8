// A custom runtime as Function Compute's documentation writes it in TypeScript: its port stands in the source.

import * as http from 'http';

const server = http.createServer((req, res) => {
  if (req.method === 'POST' && req.url === '/echo') {
    req.pipe(res);
    return;
  }
  const { localAddress, localPort, remoteAddress, remotePort } = req.socket;
  res.setHeader('Content-Type', 'application/json');
  res.end(
    JSON.stringify({
      pid: process.pid,
      self: `${localAddress}:${localPort}`,
      peer: `${remoteAddress}:${remotePort}`,
    }),
  );
});

server.timeout = 0;
server.keepAliveTimeout = 0;
server.listen(9000, '0.0.0.0', () => {
  console.log('FunctionCompute typescript runtime inited.');
});
