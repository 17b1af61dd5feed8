'use strict';

// An Express app as one writes it for a custom runtime: the port comes from the
// platform's variable. Behind warmfront that variable holds the path of a Unix
// socket, and `listen` takes either.

const crypto = require('crypto');
const express = require('express');

const port = process.env.FC_SERVER_PORT || 9000;
const app = express();

app.get('/', (req, res) => {
  res.send('Hello from Express\n');
});

// Who answered: tests kill this process and look who answers next.
app.get('/pid', (req, res) => {
  res.type('text').send(`${process.pid}\n`);
});

// What arrived, with names in their original case and order.
app.all('/headers', (req, res) => {
  res.json({ method: req.method, url: req.originalUrl, rawHeaders: req.rawHeaders });
});

app.post('/echo', express.raw({ type: () => true, limit: '64mb' }), (req, res) => {
  const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0); // `{}` if none came.
  res.set('x-body-sha256', crypto.createHash('sha256').update(body).digest('hex'));
  res.type('application/octet-stream').send(body);
});

// N bytes without a length: Node chooses chunked coding.
app.get('/chunked/:bytes', (req, res) => {
  const piece = Buffer.alloc(16 * 1024, 'x');
  let left = Number(req.params.bytes);
  const write = () => {
    while (left > 0) {
      const part = piece.subarray(0, Math.min(left, piece.length));
      left -= part.length;
      if (!res.write(part)) {
        res.once('drain', write);
        return;
      }
    }
    res.end();
  };
  write();
});

app.get('/slow/:ms', (req, res) => {
  setTimeout(() => res.send('slept\n'), Number(req.params.ms));
});

const server = app.listen(port, () => {
  console.log(`listening on ${port}`);
});

// What the platform asks of a Node server: no timeout of its own.
server.timeout = 0;
server.keepAliveTimeout = 0;
