'use strict';

// What functions do. Each is called with its invocation (see data_plane.js), from which it has the request and
// through which it answers; `?a=b` of the request's URL are its switches. A profile chooses one by its handler
// (`teapot.main`) or, if there is none of that name, by its own name; with --accept-all the name alone does.

const crypto = require('crypto');
const { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL } = require('http2').constants;

const text = [['content-type', 'text/plain']];
const KIB = 1024;

// Answers with status, headers, and one write of body, whatever the request still has to say.
function answer(invocation, status, headers, body) {
  invocation.head(status, headers);
  if (body.length > 0) invocation.write(body);
  invocation.end();
}

// The request's body back, as it comes.
function echo(invocation) {
  const { method, url, headers } = invocation.first;
  const type = headers.find(({ key }) => key === 'content-type');
  invocation.head(200, [
    ['content-type', type ? type.value : 'application/octet-stream'],
    ['x-method', method],
    ['x-url', url],
  ]);
  invocation.input.on('data', (part) => invocation.write(part));
  invocation.input.on('end', () => invocation.end());
}

// Runs `then` behind a head and ?bytes= (5) of body, unless ?after=nothing.
function behindHead(invocation, then) {
  if (invocation.query.get('after') === 'nothing') return then();
  invocation.head(200, text);
  invocation.write(Buffer.alloc(invocation.number('bytes', 5), 'x'));
  // What was written must be on its way before it is broken off.
  setImmediate(then);
}

// Messages as no plane sends them, by ?kind=.
const wrongFrames = {
  // Says that it is compressed, and no encoding was named.
  compressed: (invocation) => invocation.raw(Buffer.from([1, 0, 0, 0, 2, 0x12, 0])),
  // Says 100 bytes, has 2, and the stream ends.
  truncated: (invocation) => invocation.raw(Buffer.from([0, 0, 0, 0, 100, 0x12, 0])),
  // Says 4 GiB.
  huge: (invocation) => invocation.raw(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0x12, 0])),
  // A frame of bytes that are no protobuf.
  junk: (invocation) => invocation.raw(Buffer.from([0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])),
  // Neither error nor result.
  neither: (invocation) => invocation.raw(Buffer.from([0, 0, 0, 0, 0])),
  // Body without a head before it.
  headless: (invocation) => invocation.write(Buffer.from('body')),
  // A second status behind the first.
  'two-heads': (invocation) => {
    invocation.head(200, text);
    invocation.head(404, text);
  },
  // A head and, in the same message, body: allowed by the types, never sent.
  'head-with-body': (invocation) => invocation.head(200, text, Buffer.from('body')),
  // Nothing at all: grpc-status 0 and no message.
  nothing: () => {},
};

const answering = {
  echo,

  // Once ?ms= (100) have passed in the queue: cancelled meanwhile, it holds its slot for ever.
  queued: echo,

  // Nothing for ?ms= (100), then as echo.
  slow: (invocation) => invocation.timer(() => echo(invocation), invocation.number('ms', 100)),

  // The first message without its body, as JSON.
  mirror(invocation) {
    const { body, ...first } = invocation.first;
    answer(invocation, 200, [['content-type', 'application/json']], Buffer.from(JSON.stringify(first)));
  },

  // How much came and what it was, once it has come.
  upload(invocation) {
    const hash = crypto.createHash('sha256');
    let bytes = 0;
    invocation.input.on('data', (part) => {
      bytes += part.length;
      hash.update(part);
    });
    invocation.input.on('end', () => {
      const seen = JSON.stringify({ bytes, sha256: hash.digest('hex') });
      answer(invocation, 200, [['content-type', 'application/json']], Buffer.from(seen));
    });
  },

  // At once, while the request's body may still be under way.
  teapot(invocation) {
    const headers = [
      ...text,
      ['set-cookie', 'one=1; Path=/'],
      ['set-cookie', 'two=2; Path=/'],
      ['X-Mixed-Case', 'Kept'],
      ['x-empty', ''],
    ];
    answer(invocation, 418, headers, Buffer.from('short and stout\n'));
  },

  // ?code= (200) with ?bytes= (0) of body.
  status: (invocation) =>
    answer(invocation, invocation.number('code', 200), text, Buffer.alloc(invocation.number('bytes', 0), 'x')),

  // No plane checks a status.
  'bad-status': (invocation) => answer(invocation, 99999, text, Buffer.from('never seen')),

  // A value, or with ?in=name a name, that would end the field and begin another.
  'bad-header': (invocation) =>
    answer(
      invocation,
      200,
      [invocation.query.get('in') === 'name' ? ['x-bad\r\nx-split', '1'] : ['x-bad', 'one\r\nx-split: 1']],
      Buffer.from('never seen')
    ),

  // What belongs to a connection passes through the planes too.
  'hop-by-hop': (invocation) =>
    answer(
      invocation,
      200,
      [
        ['connection', 'close, x-private'],
        ['x-private', '1'],
        ['keep-alive', 'timeout=1'],
        ['transfer-encoding', 'chunked'],
        ['x-public', '1'],
      ],
      Buffer.from('body')
    ),

  // One field of ?bytes= (100000) beside as many of the request's as begin with `x-`.
  'echo-large-headers'(invocation) {
    const theirs = invocation.first.headers.filter(({ key }) => key.startsWith('x-'));
    const headers = theirs.map(({ key, value }) => [`${key}-back`, value]);
    answer(invocation, 200, [...headers, ['x-large', 'x'.repeat(invocation.number('bytes', 100_000))]], Buffer.from('body'));
  },

  // ?n= (5) parts, `0\n` and on, one each ?ms= (100).
  trickle(invocation) {
    const parts = invocation.number('n', 5);
    const ms = invocation.number('ms', 100);
    invocation.head(200, text);
    let part = 0;
    const step = () => {
      if (part === parts) return invocation.end();
      invocation.write(Buffer.from(`${part}\n`));
      part += 1;
      invocation.timer(step, ms);
    };
    step();
  },

  // ?bytes= (64 KiB) in writes of 64 KiB, as fast as they can be made: nobody here waits for a reader.
  download(invocation) {
    invocation.head(200, [['content-type', 'application/octet-stream']]);
    const piece = Buffer.alloc(64 * KIB, 'x');
    for (let left = invocation.number('bytes', 64 * KIB); left > 0; left -= piece.length) {
      invocation.write(piece.subarray(0, Math.min(left, piece.length)));
    }
    invocation.end();
  },

  // ?bytes= (8 MiB) in one write, which is one message.
  'big-chunk': (invocation) => answer(invocation, 200, text, Buffer.alloc(invocation.number('bytes', 8 * KIB * KIB), 'x')),

  // One write that is larger than a message may be: the server itself ends the call with grpc-status 8.
  'chunk-too-large': (invocation) => answer(invocation, 200, text, Buffer.alloc(11 * KIB * KIB, 'x')),

  // A head and ?bytes= (5) of body, then nothing any more.
  stall: (invocation) => behindHead(invocation, () => {}),

  // Nothing, not even an error at the deadline.
  silent: () => {},

  // A worker that dies behind the head: an error message, then grpc-status 0 as if all were well.
  'fail-after-head': (invocation) =>
    behindHead(invocation, () => {
      invocation.error({ name: 'NoslatedError', code: 4, message: 'peer reset stream', operation: 'StreamPush' });
      invocation.end();
    }),

  // What a grpc-timeout leaves of an answer.
  'deadline-mid-response': (invocation) =>
    behindHead(invocation, () => invocation.status(4, 'Deadline exceeded')),

  // grpc-status ?code= (14), behind a head and body; ?after=nothing: instead of them.
  'grpc-error': (invocation) =>
    behindHead(invocation, () => invocation.status(invocation.number('code', 14), 'as asked')),

  // RST_STREAM with ?code= (8, CANCEL), likewise.
  reset: (invocation) => behindHead(invocation, () => invocation.stream.close(invocation.number('code', NGHTTP2_CANCEL))),

  // The whole connection gone, likewise, and with it all calls on it.
  disconnect: (invocation) => behindHead(invocation, () => invocation.stream.session.destroy()),

  // GOAWAY, an orderly one, and then the rest of the answer.
  goaway: (invocation) =>
    behindHead(invocation, () => {
      invocation.stream.session.goaway(NGHTTP2_NO_ERROR);
      invocation.write(Buffer.from('rest'));
      invocation.end();
    }),

  // content-length 100 and 10 bytes; content-length 10 and 100 bytes.
  'short-body': (invocation) => answer(invocation, 200, [['content-length', '100']], Buffer.alloc(10, 'x')),
  'long-body': (invocation) => answer(invocation, 200, [['content-length', '10']], Buffer.alloc(100, 'x')),

  'wrong-frames'(invocation) {
    const kind = invocation.query.get('kind');
    if (!(kind in wrongFrames)) throw new Error(`wrong-frames knows ${Object.keys(wrongFrames)}, not ${kind}`);
    wrongFrames[kind](invocation);
    invocation.end();
  },
};

// Errors before a head, in the words of the planes: what a data plane says of itself, and what it says of a worker.
// `late` waits for the request's deadline. All take ?ms= to wait instead, and ?times=N: only the first N requests
// of one x-fc-request-id (or requestId) fail, later ones are echoed.
const plane = (code, message) => ({ name: 'Error', code, message });
const worker = (code, message) => ({ name: 'NoslatedError', code, message, operation: 'Trigger', dispatched: true });

const failing = {
  unknown: plane(5, ({ name }) => `No function named ${name} registered in this node.`),
  'rate-limited': plane(8, () => 'rate limit exceeded'),
  'queue-timeout': { ...plane(4, () => `Waiting for worker has timed out at ${Date.now()}, request(unknown).`), late: true },
  breaker: plane(9, () => 'System circuit breaker opened.'),
  'no-worker': plane(0, ({ name }) => `No available worker process for ${name} now.`),
  memory: plane(0, () => 'No enough virtual memory (used: 1073741824, need: 536870912, total: 1073741824)'),
  'replica-limit': plane(0, () => 'Replica count exceeded limit (10 / 10)'),
  'code-failed': plane(0, ({ name }) => `Failed to ensure (or download) code: ${name}`),
  'init-timeout': plane(0, () => 'Internal error: worker initialization timeout'),
  'handler-threw': {
    ...worker(1, () => 'invoke failed: the handler said no'),
    peerMessage: 'the handler said no',
    peerStack: 'Error: the handler said no\n    at handler (/secret/path/index.js:1:1)',
  },
  'head-timeout': { ...worker(2, () => 'invoke failed: Request Timeout'), late: true },
  'worker-died': worker(4, () => 'invoke failed: Session closed'),
};
failing.hang = failing['head-timeout'];

module.exports = { answering, failing };
