'use strict';

// A Node server that closes idle connections, as every Node server does unless told otherwise, and
// that remembers what it ran: who was asked twice, who was left. It listens where the platform's
// variable says, a port or the path of a Unix socket.

const http = require('http');

const executions = {};
const aborted = {};

function answer(res, status, body) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  res.writeHead(status, { 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://worker');
  if (url.pathname === '/executions') return answer(res, 200, executions);
  if (url.pathname === '/aborted') return answer(res, 200, aborted);

  const id = req.headers['x-fc-request-id'] || 'none';
  executions[id] = (executions[id] || 0) + 1;
  res.on('close', () => {
    if (!res.writableFinished) aborted[id] = Date.now();
  });
  // Whoever was answered finds this line, even when the process is killed right then.
  const served = (status, body) => {
    process.stdout.write(`served ${id}\n`);
    answer(res, status, body);
  };

  switch (url.pathname) {
    case '/pid':
      return served(200, String(process.pid));
    case '/slow':
      return setTimeout(() => served(200, 'slept'), Number(url.searchParams.get('ms')));
    case '/hang':
      return undefined;
    case '/drip': // One piece, and never the rest.
      res.writeHead(200);
      return res.write('first');
    case '/hangup': // It ran, and nobody will hear of it.
      return req.socket.destroy();
    default: {
      const pieces = [];
      req.on('data', (piece) => pieces.push(piece));
      req.on('end', () => served(200, Buffer.concat(pieces).toString() || `${req.method} ${req.url}`));
      return undefined;
    }
  }
});

// Node's own default is 5000. Some versions close a second later than they say.
server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS || 5000);
const where = process.env.FC_SERVER_PORT || '9000';
server.listen({ backlog: 1024, ...(where.startsWith('/') ? { path: where } : { port: Number(where), host: '127.0.0.1' }) }, () => {
  console.log(`listening on ${where.startsWith('/') ? where : server.address().port}`);
});
