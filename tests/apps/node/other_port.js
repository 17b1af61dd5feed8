'use strict';

// A port in the source that is not the platform's: the app was written for another place.

const http = require('node:http');

const server = http.createServer((req, res) => {
  if (req.method === 'POST') {
    req.pipe(res);
    return;
  }
  const { localAddress, localPort, remoteAddress, remotePort } = req.socket;
  const seen = { pid: process.pid, self: `${localAddress}:${localPort}`, peer: `${remoteAddress}:${remotePort}` };
  res.end(JSON.stringify(seen));
});

server.listen(8123, () => console.log('Server running at http://localhost:8123/'));
