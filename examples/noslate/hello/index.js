'use strict';

// One function: greets whoever is named in the body. `req` and `res` are streams, as in Node's own servers.
exports.handler = (_context, req, res) => {
  const parts = [];
  req.on('data', part => parts.push(part));
  req.on('error', error => res.destroy(error));
  req.on('end', () => {
    const name = Buffer.concat(parts).toString() || 'world';
    res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
    res.end(`hello, ${name}\n`);
  });
};
