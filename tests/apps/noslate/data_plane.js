'use strict';

// The data plane: takes invocations, queues them for workers, and keeps the habits of the real one.
//
// - Behind an error before the head, the call is not ended: it stays open until its grpc-timeout or until the
//   client resets it.
// - Uploads are read as fast as they come, answers are written as fast as functions make them.
// - A call that is cancelled in the queue is dispatched all the same. If its function then sends a head, its slot
//   is taken for ever. Cancelled when a worker has it, it holds the slot until the head; behind the head, no longer.
// - Header names, values and statuses go through unseen.

const { noslated } = require('./wire');
const { answering, failing } = require('./functions');
const { Invocation } = require('./invocation');

// Of a first message's body, in the event that shows it.
const SHOWN_BYTES = 4096;

class DataPlane {
  // slots: how many requests a function may have at once.
  constructor({ say, path, acceptAll, slots, health }) {
    Object.assign(this, { say, path, acceptAll, slots, health });
    this.functions = new Map();
    this.services = [];
    this.brokers = new Map();
    this.failures = new Map();
    this.number = 0;
    this.streams = 0;
  }

  addTo(server) {
    const unary = (method, act) => [
      method,
      (call, answer) => {
        this.say('call', { method, request: call.request });
        answer(null, act(call.request) ?? {});
      },
    ];
    server.addService(noslated.data.PushServer.service, {
      invoke: (call) => this.accept(call, (name) => name),
      invokeService: (call) => this.accept(call, (name) => this.functionOf(name)),
    });
    server.addService(
      noslated.data.DataPlane.service,
      Object.fromEntries([
        unary('setFunctionProfile', ({ profiles }) => {
          this.functions = new Map(profiles.map((profile) => [profile.name, profile]));
          return { set: true };
        }),
        unary('setServiceProfiles', ({ profiles }) => void (this.services = profiles)),
        unary('getServiceProfiles', () => ({ profiles: this.services })),
        unary('useInspector', () => {}),
        unary('registerWorkerCredential', () => {}),
        unary('serverSockPath', () => ({ path: this.path.replace(/dp-(\d+)\.sock$/, 'dlgt-$1.sock') })),
        unary('getWorkerTrafficStats', () => ({ brokers: this.traffic() })),
        ...(this.health ? [unary('checkHealth', () => ({ name: 'data-plane', ...this.health }))] : []),
      ])
    );
  }

  traffic() {
    return [...this.brokers].map(([functionName, { active }]) => ({
      functionName,
      workers: [{ name: `worker-of-${functionName}`, activeRequestCount: active }],
    }));
  }

  // The function behind a service: the one it names, or one of several by their proportions.
  functionOf(name) {
    const service = this.services.find((service) => service.name === name);
    if (service === undefined) return undefined;
    const named = (selector) => selector.find(({ key }) => key === 'functionName')?.value;
    if (service.type !== 'proportional-load-balance') return named(service.selector);
    let left = Math.random();
    const chosen = service.selectors.find(({ proportion }) => (left -= proportion) < 0);
    return named((chosen ?? service.selectors.at(-1)).selector);
  }

  accept(call, functionOf) {
    this.number += 1;
    const number = this.number;
    let invocation;
    let bytes = 0;
    let messages = 0;
    let largest = 0;
    this.say('open', { streams: (this.streams += 1) });
    call.on('data', (message) => {
      if (invocation === undefined) {
        invocation = new Invocation(call, message, number, this.say);
        const body = message.body.subarray(0, SHOWN_BYTES).toString('base64');
        const first = { ...message, body, body_bytes: message.body.length };
        invocation.say('invoke', { first, metadata: call.metadata.getMap() });
        guarded(invocation, () => this.begin(invocation, functionOf(message.name)));
      }
      if (message.body.length === 0) return;
      bytes += message.body.length;
      messages += 1;
      largest = Math.max(largest, message.body.length);
      invocation.input.push(message.body);
    });
    call.on('end', () => {
      // The real planes' answer to a call without a message is not known.
      if (invocation === undefined) return call.end();
      invocation.input.push(null);
      invocation.say('body-end', { bytes, messages, largest });
    });
    call.on('cancelled', () => {
      if (invocation === undefined) return;
      invocation.cancelled = true;
      invocation.say('cancelled', { phase: invocation.phase, code: call.call.stream.rstCode });
      if (invocation.phase === 'head-sent' || invocation.phase === 'done') invocation.close();
    });
    call.call.stream.once('close', () => this.say('open', { streams: (this.streams -= 1) }));
  }

  begin(invocation, functionName) {
    if (functionName === undefined) {
      return invocation.fail({ name: 'Error', code: 5, message: 'Service not found.' });
    }
    const profile = this.functions.get(functionName);
    const handler = profile?.handler.split('.')[0];
    const isKnown = (name) => Object.hasOwn(answering, name) || Object.hasOwn(failing, name);
    const behaviour = isKnown(handler) ? handler : functionName;
    if (!(profile || (this.acceptAll && isKnown(behaviour)))) {
      return this.fail(invocation, failing.unknown, functionName);
    }
    // A function whose code is not here.
    if (!isKnown(behaviour)) return this.fail(invocation, failing['code-failed'], functionName);

    const failure = failing[behaviour];
    if (failure !== undefined && this.isToFail(invocation)) {
      const fail = () => this.fail(invocation, failure, functionName);
      return failure.dispatched ? this.enqueue(invocation, functionName, fail) : fail();
    }
    const run = answering[behaviour] ?? answering.echo;
    if (behaviour !== 'queued') return this.enqueue(invocation, functionName, run);
    // Not one of its timers: a call that is cancelled comes out of the queue all the same.
    setTimeout(() => this.enqueue(invocation, functionName, run), invocation.number('ms', 100));
  }

  // Whether ?times= leaves this one of its request id to fail.
  isToFail(invocation) {
    if (!invocation.query.has('times')) return true;
    const { headers, requestId } = invocation.first;
    const id = headers.find(({ key }) => key.toLowerCase() === 'x-fc-request-id')?.value ?? requestId;
    const failed = this.failures.get(id) ?? 0;
    this.failures.set(id, failed + 1);
    return failed < invocation.number('times');
  }

  fail(invocation, { late, dispatched, message, ...failure }, name) {
    const fail = () => invocation.fail({ ...failure, message: message({ name }) });
    if (invocation.query.has('ms')) return void invocation.timer(fail, invocation.number('ms'));
    if (late) return void invocation.timer(fail, invocation.left);
    fail();
  }

  // A slot for `invocation`, now or when one is free; first come, first served, cancelled or not.
  enqueue(invocation, functionName, run) {
    if (!this.brokers.has(functionName)) this.brokers.set(functionName, { active: 0, waiting: [] });
    const broker = this.brokers.get(functionName);
    if (broker.active < this.slots) return this.dispatch(invocation, broker, run);
    const waiting = { invocation, run };
    broker.waiting.push(waiting);
    invocation.say('waiting', { before: broker.waiting.length - 1 });
    invocation.timer(() => {
      const place = broker.waiting.indexOf(waiting);
      if (place < 0) return;
      broker.waiting.splice(place, 1);
      this.fail(invocation, { ...failing['queue-timeout'], late: false }, functionName);
    }, invocation.left);
  }

  dispatch(invocation, broker, run) {
    broker.active += 1;
    const wasCancelled = invocation.cancelled;
    invocation.onPhase = (phase) => {
      if (wasCancelled && phase === 'head-sent') {
        invocation.onPhase = undefined;
        return invocation.say('slot-leaked', { active: broker.active });
      }
      const isFree = phase === 'done' || (phase === 'head-sent' && invocation.cancelled);
      if (!isFree) return;
      invocation.onPhase = undefined;
      broker.active -= 1;
      const next = broker.waiting.shift();
      if (next !== undefined) this.dispatch(next.invocation, broker, next.run);
    };
    invocation.say('dispatched', { cancelled: wasCancelled });
    invocation.move('running');
    guarded(invocation, () => run(invocation));
  }
}

// No plane's habit: a test asked for what is not here.
function guarded(invocation, act) {
  try {
    act();
  } catch (error) {
    invocation.say('misused', { message: error.message });
    invocation.status(13, `misused: ${error.message}`);
  }
}

module.exports = { DataPlane };
