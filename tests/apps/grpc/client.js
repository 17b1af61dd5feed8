'use strict';

// Asks the sample server one thing and prints what it saw as one line of JSON:
//   node client.js PORT CALL

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [port, call] = process.argv.slice(2);
const { sample } = grpc.loadPackageDefinition(
  loader.loadSync(path.join(__dirname, 'sample.proto'), { longs: Number })
);
const client = new sample.Sample(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': 16 << 20,
});

function print(seen) {
  console.log(JSON.stringify(seen));
  client.close();
}

const failure = (error) => ({ code: error.code, details: error.details });

const calls = {
  unary() {
    const metadata = new grpc.Metadata();
    metadata.add('x-plain', 'one');
    metadata.add('x-plain', 'two');
    metadata.add('x-given-bin', Buffer.from([0, 200, 13, 10]));
    const seen = {};
    client
      .Echo({ body: Buffer.from('hello') }, metadata, (error, answer) => {
        seen.error = error && failure(error);
        seen.body = answer && answer.body.toString();
      })
      .on('metadata', (head) => {
        seen.plain = head.get('x-plain-back');
        seen.given = head.get('x-given-back-bin').map((bytes) => [...bytes]);
        seen.id = head.get('x-fc-request-id-back');
      })
      .on('status', (status) => {
        seen.code = status.code;
        seen.binary = status.metadata.get('x-binary-bin').map((bytes) => [...bytes]);
        seen.authority = status.metadata.get('x-seen-authority');
        print(seen);
      });
  },

  large() {
    const body = Buffer.alloc(1 << 20, 'y');
    client.Echo({ body }, (error, answer) => print({ error: error && failure(error), same: !error && answer.body.equals(body) }));
  },

  serverStreaming() {
    const seen = { messages: 0, bytes: 0 };
    client
      .Count({ count: 1000, size: 5000 })
      .on('data', (message) => {
        seen.messages += 1;
        seen.bytes += message.body.length;
      })
      .on('error', (error) => (seen.error = failure(error)))
      .on('status', (status) => print({ ...seen, code: status.code }));
  },

  clientStreaming() {
    const stream = client.Sum((error, total) => print({ error: error && failure(error), ...total }));
    for (let number = 0; number < 1000; number += 1) stream.write({ body: Buffer.alloc(number) });
    stream.end();
  },

  bidirectional() {
    const seen = [];
    const words = ['one', 'two', 'three'];
    const stream = client.Talk();
    stream.on('data', (message) => {
      seen.push(message.body.toString());
      const next = words.shift();
      if (next) stream.write({ body: Buffer.from(next) });
      else stream.end();
    });
    stream.on('status', (status) => print({ seen, code: status.code }));
    stream.write({ body: Buffer.from(words.shift()) });
  },

  // 16: UNAUTHENTICATED. The server sends nothing but trailers.
  failing() {
    client.Fail({ code: 16, details: 'no: é, %, ✓' }, (error) => print(failure(error)));
  },

  unknown() {
    const unknown = grpc.makeGenericClientConstructor({
      Nope: { ...sample.Sample.service.Echo, path: '/sample.Sample/Nope' },
    });
    const other = new unknown(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    other.Nope({ body: Buffer.alloc(0) }, (error) => {
      other.close();
      print(failure(error));
    });
  },

  deadline() {
    client.Hang({ body: Buffer.from('deadline') }, { deadline: Date.now() + 300 }, (error) => print(failure(error)));
  },

  hang() {
    client.Hang({ body: Buffer.from('for ever') }, (error) => print(failure(error)));
  },

  cancel() {
    const stream = client.Drip({ body: Buffer.from('cancel') });
    stream.on('data', () => stream.cancel());
    stream.on('error', (error) => print(failure(error)));
  },

  concurrent() {
    const asked = Array.from({ length: 100 }, (_, number) => String(number));
    const ask = (word) =>
      new Promise((done, fail) =>
        client.Echo({ body: Buffer.from(word) }, (error, answer) => (error ? fail(error) : done(answer.body.toString())))
      );
    Promise.all(asked.map(ask)).then(
      (seen) => print({ same: JSON.stringify(seen) === JSON.stringify(asked) }),
      (error) => print(failure(error))
    );
  },
};

calls[call]();
