'use strict';

// A gRPC server as one writes it for a custom runtime: it listens where the
// platform's variable says. Behind warmfront that is the path of a Unix socket.

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const { sample } = grpc.loadPackageDefinition(
  loader.loadSync(path.join(__dirname, 'sample.proto'), { longs: Number })
);

const service = {
  Echo(call, answer) {
    const trailer = new grpc.Metadata();
    trailer.set('x-seen-authority', String(call.getHost()));
    trailer.set('x-binary-bin', Buffer.from([0, 1, 255, 10, 13]));
    const head = new grpc.Metadata();
    for (const [name, back] of [
      ['x-plain', 'x-plain-back'],
      ['x-given-bin', 'x-given-back-bin'],
      ['x-fc-request-id', 'x-fc-request-id-back'],
    ]) {
      for (const value of call.metadata.get(name)) head.add(back, value);
    }
    call.sendMetadata(head);
    answer(null, { body: call.request.body }, trailer);
  },

  Count(call) {
    const body = Buffer.alloc(call.request.size, 'x');
    let number = 0;
    const write = () => {
      while (number < call.request.count) {
        number += 1;
        if (!call.write({ body })) return call.once('drain', write);
      }
      call.end();
    };
    write();
  },

  Sum(call, answer) {
    const total = { messages: 0, bytes: 0 };
    call.on('data', (message) => {
      total.messages += 1;
      total.bytes += message.body.length;
    });
    call.on('end', () => answer(null, total));
  },

  Talk(call) {
    call.on('data', (message) => call.write({ body: Buffer.concat([Buffer.from('re: '), message.body]) }));
    call.on('end', () => call.end());
  },

  Fail(call, answer) {
    answer({ code: call.request.code, details: call.request.details });
  },

  Hang(call) {
    console.log(`hanging: ${call.request.body}`);
    call.on('cancelled', () => console.log(`hang was cancelled: ${call.request.body}`));
  },

  Drip(call) {
    call.on('cancelled', () => console.log(`drip was cancelled: ${call.request.body}`));
    call.write({ body: Buffer.from('first') });
  },
};

const options = { 'grpc.max_receive_message_length': 16 << 20 };
const server = new grpc.Server(options);
server.addService(sample.Sample.service, service);
const where = process.env.PORT || '8089';
const address = where.startsWith('/') ? `unix:${where}` : `0.0.0.0:${where}`;
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log(`listening on ${where}`);
});
process.on('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
