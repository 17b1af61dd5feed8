'use strict';

// One call of a function: what came of the request, what went of the answer, and whether somebody still waits.
// Its phases: queued, running (a worker has it), head-sent, done.

const { Readable } = require('stream');
const { pairs } = require('./wire');

// Noslate's, for a request that names none.
const DEADLINE_MS = 10_000;

class Invocation {
  constructor(call, first, number, say) {
    this.call = call;
    this.first = first;
    this.phase = 'queued';
    // Cancelled calls go on in here, and what they answer is lost.
    this.cancelled = false;
    // Read in flowing mode: however fast it comes, it is taken.
    this.input = new Readable({ read() {} });
    this.timers = new Set();
    this.about = { id: first.requestId || 'unknown', number, name: first.name };
    this.say = (event, facts) => say(event, { ...this.about, ...facts });
    this.query = new URLSearchParams(first.url.split('?')[1]);
  }

  get stream() {
    return this.call.call.stream;
  }

  // The switch `name` as a number.
  number(name, otherwise) {
    const value = Number(this.query.get(name) ?? otherwise);
    if (!Number.isFinite(value)) throw new Error(`${name}=${this.query.get(name)} is no number`);
    return value;
  }

  // Milliseconds until the plane gives up.
  get left() {
    return Math.max(0, (this.first.deadline || Date.now() + DEADLINE_MS) - Date.now());
  }

  // Forgotten if the call ends before.
  timer(then, ms) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      then();
    }, ms);
    this.timers.add(timer);
  }

  head(status, headers, body) {
    this.call.write({ result: { status, headers: pairs(headers), body } });
    this.move('head-sent');
  }

  write(body) {
    this.call.write({ result: { body } });
  }

  error(facts) {
    this.call.write({ error: facts });
  }

  // Bytes as they are, instead of a message.
  raw(bytes) {
    this.call.sendMetadata();
    this.stream.write(bytes);
  }

  // The end of the call as all is well.
  end() {
    this.call.end();
    this.move('done');
  }

  // The end of the call with another grpc-status.
  status(code, details) {
    this.call.emit('error', { code, details });
    this.move('done');
  }

  // An error before the head. The call stays open: the planes return without an end.
  fail({ name, code, message, ...peer }) {
    const stack = `${name}: ${message}\n    at PushServer.invoke (/secret/path/push_server.js:1:1)`;
    this.error({ name, code, message, stack, ...peer });
    this.say('failed', { error: { name, code, message } });
    this.move('done');
  }

  // `queued` → `running` → `head-sent` → `done`, never back.
  move(phase) {
    const was = this.phase;
    this.phase = was === 'done' ? was : phase;
    if (was !== this.phase && this.phase === 'head-sent') this.say('head-sent');
    if (was !== this.phase) this.onPhase?.(this.phase);
  }

  // The call is over for the other side, whatever the function still does.
  close() {
    for (const timer of this.timers) clearTimeout(timer);
    this.input.removeAllListeners('data');
    this.move('done');
  }
}

module.exports = { Invocation };
