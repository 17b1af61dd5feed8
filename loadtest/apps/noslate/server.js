'use strict';

// Noslate's front door as its documentation has one write it: Express in front, the gRPC client of its SDK
// (@grpc/grpc-js 1.8.8) behind, request and response streamed. Its upstream's own was never published; this one
// is ours, in that shape, and kinder than the shape: it passes status and headers on, and an invocation that fails
// does not end the process.
//
//   NOSLATED_WORKDIR=DIR node server.js     answers /invoke/FUNCTION/and/what?ever
//
//   FC_SERVER_PORT             port (9000)
//   NOSLATE_CALLS_PER_CHANNEL  invocations after which a new connection is made (never). This client resets every
//                              call that has ended; a data plane on Node 20 answers some 1000 resets with GOAWAY,
//                              which fails whatever is in flight.

const path = require('path');
const express = require('express');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

// A request waits that long for its head; the call, bodies included, a second longer.
const TIMEOUT_MS = 10_000;
const GRACE_MS = 1000;

const definition = loader.loadSync('data.proto', {
  includeDirs: [path.join(__dirname, '../../../tests/apps/noslate/proto')],
  keepCase: true,
  longs: Number,
  oneofs: true,
  defaults: true,
});
const { PushServer } = grpc.loadPackageDefinition(definition).noslated.data;

const socket = path.join(process.env.NOSLATED_WORKDIR || '/.noslate/noslated', 'socks/dp-0.sock');
const callsPerChannel = Number(process.env.NOSLATE_CALLS_PER_CHANNEL || Infinity);

// Connections of one process would be shared, and no new one would be new.
const options = { 'grpc.max_receive_message_length': 10 << 20, 'grpc.use_local_subchannel_pool': 1 };
let channel;

// A call on a connection that has not had too many; one that has is closed when its last call has ended.
function invoke(deadline) {
  if (channel === undefined || channel.calls >= callsPerChannel) {
    const client = new PushServer(`unix://${path.resolve(socket)}`, grpc.credentials.createInsecure(), options);
    channel = { client, calls: 0, open: 0 };
  }
  const mine = channel;
  mine.calls += 1;
  mine.open += 1;
  const call = mine.client.invoke({ deadline });
  call.once('status', () => {
    mine.open -= 1;
    if (mine.open === 0 && mine.calls >= callsPerChannel) mine.client.close();
  });
  return call;
}

const app = express();

// Express takes the prefix off `req.url`.
app.use('/invoke/:name', (req, res) => {
  const deadline = Date.now() + TIMEOUT_MS;
  const call = invoke(deadline + GRACE_MS);
  call.write({
    name: req.params.name,
    url: req.url,
    method: req.method,
    headers: Object.entries(req.headers).map(([key, value]) => ({ key, value: String(value) })),
    requestId: req.headers['x-fc-request-id'] || 'unknown',
    deadline,
  });
  req.on('data', (body) => call.write({ body }));
  req.on('end', () => call.end());

  const fail = (why) => {
    if (res.headersSent) return res.destroy();
    res.status(500).send(`${why}\n`);
  };
  call.on('data', ({ result, error }) => {
    if (error) return fail(error.message);
    if (res.headersSent) return res.write(result.body);
    // As repeated fields arrive one by one: `append`, not `set`.
    for (const { key, value } of result.headers) res.append(key, value);
    res.status(result.status).flushHeaders();
  });
  call.on('end', () => res.end());
  call.on('error', (error) => fail(error.message));
  res.on('close', () => res.writableFinished || call.cancel());
});

const port = process.env.FC_SERVER_PORT || 9000;
const server = app.listen(port, () => console.log(`listening on ${port}`));

// What the platform asks of a Node server: no timeout of its own.
server.timeout = 0;
server.keepAliveTimeout = 0;
