'use strict';

// Whether the fakes have the habits that they claim: node --test tests/apps/noslate

const assert = require('assert');
const fs = require('fs');
const http2 = require('http2');
const net = require('net');
const os = require('os');
const path = require('path');
const readline = require('readline');
const test = require('node:test');
const { spawn } = require('child_process');
const { once } = require('events');
const { grpc, noslated, connect } = require('./wire');

const DEADLINE_MS = 10_000;
const GRPC_TIMEOUT_MS = 700;

// `planes.js` with `switches`, in whose words DIR is a directory of its own; gone when `t` ends.
async function planes(t, ...switches) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'planes-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const started = { dir, data: `${dir}/dp-0.sock`, control: `${dir}/cp-0.sock` };
  Object.assign(started, await run(t, switches.map((word) => word.replaceAll('DIR', dir))));
  return started;
}

async function run(t, switches) {
  const child = spawn(process.execPath, [path.join(__dirname, 'planes.js'), ...switches], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const events = [];
  const waiting = new Set();
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line));
    for (const look of waiting) look();
  });
  // The next event, from `from` on, of which `matches` holds.
  const next = (matches, from = 0) =>
    new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`not seen in ${JSON.stringify(events)}`)), DEADLINE_MS);
      const look = () => {
        const event = events.slice(from).find(matches);
        if (event === undefined) return;
        clearTimeout(timer);
        waiting.delete(look);
        done(event);
      };
      waiting.add(look);
      look();
    });
  for (const plane of ['data', 'control']) {
    if (switches.includes(`--${plane}`)) await next((e) => e.event === 'listening' && e.plane === plane);
  }
  return { child, events, next };
}

function client(t, service, socket) {
  const made = connect(service, socket);
  t.after(() => made.close());
  return made;
}

const pushServer = (t, { data }) => client(t, noslated.data.PushServer, data);

// One call from a head to its end, and what came of it, in order.
function begin(push, name, { url = '/', body = ['hello'], method = 'invoke', timeout = DEADLINE_MS, ...head } = {}) {
  const call = push[method]({ deadline: Date.now() + timeout });
  const seen = { call, messages: [], body: '', bytes: 0 };
  call.on('data', (message) => {
    seen.messages.push(message);
    if (message.response === 'error') return (seen.error = message.error);
    if (message.response === undefined) return;
    if (message.result.status) Object.assign(seen, { status: message.result.status, headers: message.result.headers });
    seen.bytes += message.result.body.length;
    if (seen.bytes < 10_000) seen.body += message.result.body;
  });
  call.on('error', () => {});
  // Not `once` of events: that fails when the call does, and some calls are to fail.
  seen.ended = new Promise((done) => call.on('status', ({ code }) => done(Object.assign(seen, { code }))));
  const first = new Promise((done) => call.once('data', done));
  seen.first = () => Promise.race([first, seen.ended]);
  call.write({ name, url, method: 'POST', deadline: Date.now() + timeout - 100, requestId: `of ${name}`, ...head });
  for (const part of body) call.write({ body: Buffer.from(part) });
  call.end();
  return seen;
}

const whole = (...args) => begin(...args).ended;

const promisify = (stub, method, request) =>
  new Promise((done, fail) => stub[method](request, (error, answer) => (error ? fail(error) : done(answer))));

const header = (seen, name) => seen.headers.filter(({ key }) => key === name).map(({ value }) => value);

test('functions answer as their names say', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all');
  const push = pushServer(t, fake);
  const ask = (name, options) => whole(push, name, options);

  const echo = await ask('echo', { body: ['one ', 'two'], headers: [{ key: 'content-type', value: 'text/x' }] });
  assert.deepStrictEqual([echo.code, echo.status, echo.body], [0, 200, 'one two']);
  assert.deepStrictEqual(header(echo, 'content-type'), ['text/x']);
  assert.strictEqual(echo.messages[0].result.body.length, 0, 'the head comes alone');

  const headers = [{ key: 'x-Ä', value: 'ö' }, { key: 'x-two', value: '1' }, { key: 'x-two', value: '2' }];
  const mirror = JSON.parse((await ask('mirror', { url: '/p?q', headers, baggage: [{ key: 'b', value: '' }] })).body);
  assert.deepStrictEqual(mirror.headers, headers);
  assert.deepStrictEqual([mirror.url, mirror.baggage, mirror.requestId], ['/p?q', [{ key: 'b', value: '' }], 'of mirror']);

  const teapot = await ask('teapot');
  assert.deepStrictEqual([teapot.status, header(teapot, 'set-cookie').length], [418, 2]);
  assert.deepStrictEqual([header(teapot, 'X-Mixed-Case'), header(teapot, 'x-mixed-case')], [['Kept'], []]);

  assert.strictEqual((await ask('status', { url: '/?code=204' })).status, 204);
  assert.strictEqual((await ask('bad-status')).status, 99999);
  assert.match(header(await ask('bad-header'), 'x-bad')[0], /\r\n/);
  assert.match((await ask('bad-header', { url: '/?in=name' })).headers[0].key, /\r\n/);
  assert.deepStrictEqual(header(await ask('hop-by-hop'), 'transfer-encoding'), ['chunked']);
  const large = await ask('echo-large-headers', { headers: [{ key: 'x-a', value: 'y'.repeat(50_000) }] });
  assert.deepStrictEqual([header(large, 'x-large')[0].length, header(large, 'x-a-back')[0].length], [100_000, 50_000]);

  const trickle = await ask('trickle', { url: '/?n=3&ms=1' });
  assert.deepStrictEqual([trickle.body, trickle.messages.length], ['0\n1\n2\n', 4]);
  const download = await ask('download', { url: '/?bytes=1000000' });
  assert.deepStrictEqual([download.bytes, download.messages.length], [1_000_000, 1 + 16]);
  const chunk = await ask('big-chunk');
  assert.deepStrictEqual([chunk.bytes, chunk.messages.length, chunk.code], [8 << 20, 2, 0]);
  const upload = await ask('upload', { body: ['a'.repeat(1 << 20), 'b'.repeat(9 << 20)] });
  assert.strictEqual(JSON.parse(upload.body).bytes, 10 << 20);
  const seen = await fake.next((e) => e.event === 'body-end' && e.name === 'upload');
  assert.deepStrictEqual([seen.bytes, seen.messages, seen.largest], [10 << 20, 2, 9 << 20]);
  assert.strictEqual((await ask('slow', { url: '/?ms=1' })).body, 'hello');
  assert.strictEqual((await ask('queued', { url: '/?ms=1' })).body, 'hello');
  assert.deepStrictEqual(header(await ask('short-body'), 'content-length'), ['100']);
  assert.strictEqual((await ask('long-body')).bytes, 100);
});

test('an answer that breaks breaks in the way of its name', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all');
  const push = pushServer(t, fake);
  const ask = (name, options) => whole(push, name, options);

  const failed = await ask('fail-after-head');
  assert.deepStrictEqual([failed.status, failed.body, failed.error.message, failed.code], [200, 'xxxxx', 'peer reset stream', 0]);
  const large = await ask('chunk-too-large');
  assert.deepStrictEqual([large.status, large.bytes, large.code], [200, 0, grpc.status.RESOURCE_EXHAUSTED]);
  const late = await ask('deadline-mid-response');
  assert.deepStrictEqual([late.status, late.bytes, late.code], [200, 5, grpc.status.DEADLINE_EXCEEDED]);
  assert.strictEqual((await ask('grpc-error', { url: '/?code=8&after=nothing' })).code, 8);
  assert.strictEqual((await ask('grpc-error')).code, 14);
  const reset = await ask('reset');
  assert.deepStrictEqual([reset.bytes, reset.code], [5, grpc.status.CANCELLED]);
  assert.strictEqual((await ask('reset', { url: '/?after=nothing&code=2' })).code, grpc.status.INTERNAL);
  const goaway = await ask('goaway');
  assert.deepStrictEqual([goaway.body, goaway.code], ['xxxxxrest', 0]);
  const stall = begin(push, 'stall');
  await stall.first();
  stall.call.cancel();
  const disconnected = await ask('disconnect', { url: '/?bytes=7' });
  assert.notStrictEqual(disconnected.code, 0);

  const kinds = ['compressed', 'truncated', 'huge', 'junk', 'neither', 'headless', 'two-heads', 'head-with-body', 'nothing'];
  for (const kind of kinds) await ask('wrong-frames', { url: `/?kind=${kind}`, timeout: GRPC_TIMEOUT_MS });
  assert.deepStrictEqual((await ask('wrong-frames', { url: '/?kind=nothing' })).messages, []);
  assert.strictEqual((await ask('wrong-frames', { url: '/?kind=neither' })).messages[0].response, undefined);
  assert.strictEqual((await ask('wrong-frames', { url: '/?kind=typo' })).code, grpc.status.INTERNAL);
  await fake.next((e) => e.event === 'misused');
  assert.strictEqual((await ask('echo')).body, 'hello', 'and the plane lives');
});

test('behind an error before the head the call stays open until its grpc-timeout', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all');
  const push = pushServer(t, fake);
  const errors = {
    unknown: ['Error', 5],
    'rate-limited': ['Error', 8],
    'queue-timeout': ['Error', 4],
    breaker: ['Error', 9],
    'no-worker': ['Error', 0],
    memory: ['Error', 0],
    'replica-limit': ['Error', 0],
    'code-failed': ['Error', 0],
    'init-timeout': ['Error', 0],
    'handler-threw': ['NoslatedError', 1],
    'head-timeout': ['NoslatedError', 2],
    hang: ['NoslatedError', 2],
    'worker-died': ['NoslatedError', 4],
  };
  const calls = Object.keys(errors).map((name) => begin(push, name, { timeout: GRPC_TIMEOUT_MS }));
  const nobody = begin(push, 'nobody', { timeout: GRPC_TIMEOUT_MS });
  await Promise.all(calls.map((call) => call.first()));
  assert.strictEqual(Math.max(...fake.events.map((e) => e.streams ?? 0)), calls.length + 1);
  for (const [name, [kind, code]] of Object.entries(errors)) {
    const seen = await calls.shift().ended;
    assert.deepStrictEqual([seen.error.name, seen.error.code, seen.messages.length], [kind, code, 1], name);
    assert.strictEqual(seen.code, grpc.status.DEADLINE_EXCEEDED, name);
  }
  assert.strictEqual((await nobody.ended).error.message, 'No function named nobody registered in this node.');
  await fake.next((e) => e.event === 'open' && e.streams === 0);
  const silent = await whole(push, 'silent', { timeout: GRPC_TIMEOUT_MS });
  assert.deepStrictEqual([silent.messages, silent.code], [[], grpc.status.DEADLINE_EXCEEDED]);
});

test('the first calls of an id fail and then it is served', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all');
  const push = pushServer(t, fake);
  const headers = [{ key: 'x-fc-request-id', value: 'one' }];
  for (const fails of [true, true, false]) {
    const call = begin(push, 'memory', { url: '/?times=2', headers });
    await call.first();
    assert.strictEqual(call.error?.message.startsWith('No enough virtual memory') ?? false, fails);
    call.call.cancel();
  }
});

test('a call cancelled in the queue is dispatched and keeps its slot for ever', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all', '--slots', '1');
  const push = pushServer(t, fake);
  const cancelled = begin(push, 'queued', { url: '/?ms=200' });
  await fake.next((e) => e.event === 'invoke');
  cancelled.call.cancel();
  assert.strictEqual((await fake.next((e) => e.event === 'cancelled')).phase, 'queued');
  assert.strictEqual((await fake.next((e) => e.event === 'dispatched')).cancelled, true);
  await fake.next((e) => e.event === 'slot-leaked');
  const late = await whole(push, 'queued', { url: '/?ms=1', timeout: GRPC_TIMEOUT_MS });
  assert.match(late.error.message, /^Waiting for worker has timed out/);
  const stats = await promisify(client(t, noslated.data.DataPlane, fake.data), 'getWorkerTrafficStats', {});
  assert.deepStrictEqual(stats.brokers.map((b) => [b.functionName, b.workers[0].activeRequestCount]), [['queued', 1]]);
});

test('a call cancelled behind its head frees its slot at once', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all', '--slots', '1');
  const push = pushServer(t, fake);
  for (let round = 0; round < 3; round += 1) {
    const stall = begin(push, 'stall');
    await stall.first();
    const next = begin(push, 'stall');
    await fake.next((e) => e.event === 'waiting' && e.number === 2 * round + 2);
    stall.call.cancel();
    const seen = await fake.next((e) => e.event === 'cancelled' && e.number === 2 * round + 1);
    assert.deepStrictEqual([seen.phase, seen.code], ['head-sent', http2.constants.NGHTTP2_CANCEL]);
    await next.first();
    next.call.cancel();
  }
});

test('a call cancelled before its head holds its slot until the head', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all', '--slots', '1');
  const push = pushServer(t, fake);
  const cancelled = begin(push, 'slow', { url: '/?ms=300' });
  await fake.next((e) => e.event === 'dispatched');
  const next = begin(push, 'slow', { url: '/?ms=1' });
  cancelled.call.cancel();
  assert.strictEqual((await fake.next((e) => e.event === 'cancelled')).phase, 'running');
  assert.strictEqual((await next.ended).body, 'hello');
  const order = fake.events.filter((e) => ['head-sent', 'dispatched'].includes(e.event)).map((e) => [e.event, e.number]);
  assert.deepStrictEqual(order.slice(0, 3), [['dispatched', 1], ['head-sent', 1], ['dispatched', 2]]);
});

test('the data plane is told functions and services and forgets none', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--health', 'too much to do');
  const push = pushServer(t, fake);
  const plane = client(t, noslated.data.DataPlane, fake.data);
  const profiles = [
    { name: 'tea', handler: 'teapot.main' },
    { name: 'echo', handler: 'index.main' },
    { name: 'what', handler: 'index.main' },
  ];
  assert.deepStrictEqual(await promisify(plane, 'setFunctionProfile', { profiles }), { set: true });
  assert.strictEqual((await whole(push, 'tea')).status, 418);
  assert.strictEqual((await whole(push, 'echo')).status, 200);
  const error = async (name, options) => {
    const call = begin(push, name, options);
    await call.first();
    call.call.cancel();
    return call.error.message;
  };
  assert.match(await error('what'), /^Failed to ensure/);
  assert.match(await error('teapot'), /^No function named teapot/);

  const functionName = (value) => [{ key: 'functionName', value }];
  const services = [
    { name: 'plain', type: 'default', selector: functionName('tea') },
    { name: 'split', type: 'proportional-load-balance', selectors: [
      { selector: functionName('tea'), proportion: 0.5 }, { selector: functionName('echo'), proportion: 0.5 },
    ] },
  ];
  await promisify(plane, 'setServiceProfiles', { profiles: services });
  assert.deepStrictEqual((await promisify(plane, 'getServiceProfiles', {})).profiles.map((s) => s.name), ['plain', 'split']);
  assert.strictEqual((await whole(push, 'plain', { method: 'invokeService' })).status, 418);
  const split = await Promise.all(Array.from({ length: 100 }, () => whole(push, 'split', { method: 'invokeService' })));
  assert.deepStrictEqual(new Set(split.map((seen) => seen.status)), new Set([200, 418]));
  assert.strictEqual(await error('none', { method: 'invokeService' }), 'Service not found.');

  await promisify(plane, 'useInspector', { funcName: 'tea', use: true });
  const used = await fake.next((e) => e.event === 'call' && e.method === 'useInspector');
  assert.deepStrictEqual(used.request, { funcName: 'tea', use: true });
  await promisify(plane, 'registerWorkerCredential', { funcName: 'tea', credential: 'c' });
  assert.match((await promisify(plane, 'serverSockPath', {})).path, /dlgt-0\.sock$/);
  const { name, ...health } = await promisify(plane, 'checkHealth', {});
  assert.deepStrictEqual(health, { health: false, reason: 'too much to do' });

  const host = client(t, noslated.Host, fake.data).connect();
  const [chunk] = await once(host, 'data');
  assert.deepStrictEqual(chunk.events.map((e) => e.name), ['host.liveness']);
  host.end();
  await once(host, 'end');
});

test('a control plane started again knows nothing and says so to the data plane', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--health', 'none');
  const control = ['--control', fake.control, '--hand-to', fake.data, '--refuse-sets', '1', '--warm-after', '1'];
  const push = pushServer(t, fake);
  const plane = client(t, noslated.control.ControlPlane, fake.control);
  const tea = { name: 'tea', handler: 'teapot.main', worker: { reservationCount: 2 } };
  const set = () => promisify(plane, 'setFunctionProfile', { profiles: [tea] });
  const known = async () => (await promisify(plane, 'getFunctionProfile', {})).profiles.map((profile) => profile.name);

  let running = await run(t, control);
  assert.deepStrictEqual([await set(), await known()], [{ set: true }, []], 'says true whatever became of it');
  assert.deepStrictEqual([await set(), await known()], [{ set: true }, ['tea']]);
  assert.strictEqual((await whole(push, 'tea')).status, 418);
  const active = async () => (await promisify(plane, 'getWorkerStatsSnapshot', {})).brokers[0].activeWorkerCount;
  assert.deepStrictEqual([await active(), await active()], [0, 2]);
  assert.deepStrictEqual(await promisify(plane, 'setPlatformEnvironmentVariables', { envs: [{ key: 'a', value: 'b' }] }), {
    set: true,
  });
  assert.strictEqual((await promisify(plane, 'checkHealth', {})).health, true);

  const before = fake.events.length;
  running.child.kill('SIGKILL');
  await once(running.child, 'exit');
  assert.strictEqual((await whole(push, 'tea')).status, 418, 'warm calls go on');
  running = await run(t, control);
  await fake.next((e) => e.method === 'setFunctionProfile' && e.request.profiles.length === 0, before);
  const lost = begin(push, 'tea');
  await lost.first();
  assert.strictEqual(lost.error.code, 5);
  lost.call.cancel();

  const data = client(t, noslated.data.DataPlane, fake.data);
  await assert.rejects(promisify(data, 'checkHealth', {}), { code: grpc.status.UNIMPLEMENTED });
});

test('a data plane started again gets its functions from the control plane', async (t) => {
  const fake = await planes(t, '--control', 'DIR/cp-0.sock', '--hand-to', 'DIR/dp-0.sock');
  const plane = client(t, noslated.control.ControlPlane, fake.control);
  const first = await run(t, ['--data', fake.data, '--id', '3']);
  await promisify(plane, 'setFunctionProfile', { profiles: [{ name: 'tea', handler: 'teapot.main' }] });
  const has = (e) => e.method === 'setFunctionProfile' && e.request.profiles.length === 1 && e.plane_id === 3;
  await first.next(has);
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  const again = await run(t, ['--data', fake.data, '--id', '3']);
  await again.next(has);
  assert.strictEqual((await whole(pushServer(t, fake), 'tea')).status, 418);
});

// `count` invocations of `name` on one connection of its own, each reset once its first message is here; what
// became of the connection.
async function resets(t, fake, name, count) {
  const session = http2.connect('http://localhost', { createConnection: () => net.connect(fake.data) });
  t.after(() => session.destroy());
  session.on('error', () => {});
  const seen = { resets: 0 };
  session.on('goaway', (code) => (seen.goaway = code));
  const gone = once(session, 'close').then(() => false);
  const path = '/noslated.data.PushServer/invoke';
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const message = noslated.data.PushServer.service.invoke.requestSerialize({ name });
  const prefix = Buffer.from([0, 0, 0, 0, message.length]);
  while (seen.resets < count) {
    const stream = session.request(headers);
    stream.on('error', () => {});
    stream.end(Buffer.concat([prefix, message]));
    if (!(await Promise.race([once(stream, 'data').then(() => true, () => false), gone]))) break;
    seen.resets += 1;
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await Promise.race([once(stream, 'close'), gone]);
  }
  return seen;
}

test('a thousand resets in a burst cost the connection and no other one', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all');
  const push = pushServer(t, fake);
  const good = begin(push, 'stall');
  await good.first();
  const seen = await resets(t, fake, 'unknown', 3000);
  assert.strictEqual(seen.goaway, http2.constants.NGHTTP2_INTERNAL_ERROR);
  // The bucket of 1000 is filled by 33 a second meanwhile.
  assert.ok(seen.resets >= 1000 && seen.resets < 2000, `${seen.resets}`);
  assert.strictEqual((await whole(push, 'echo')).body, 'hello');
  good.call.cancel();
  assert.strictEqual((await good.ended).code, grpc.status.CANCELLED);
});

test('quiet planes say only that they listen', async (t) => {
  const fake = await planes(t, '--data', 'DIR/dp-0.sock', '--accept-all', '--quiet');
  assert.strictEqual((await whole(pushServer(t, fake), 'echo')).body, 'hello');
  assert.deepStrictEqual(fake.events.map((e) => e.event), ['listening']);
});
