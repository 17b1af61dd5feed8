'use strict';

// The "Hello World" of Express with its port in the source, and two more routes.

const express = require('express');

const app = express();
const port = 9000;

app.get('/', (req, res) => {
  res.json({
    pid: process.pid,
    self: `${req.socket.localAddress}:${req.socket.localPort}`,
    peer: `${req.socket.remoteAddress}:${req.socket.remotePort}`,
  });
});

app.post('/echo', express.raw({ type: () => true }), (req, res) => {
  res.send(req.body);
});

app.listen(port, () => {
  console.log(`Example app listening on port ${port}`);
});
