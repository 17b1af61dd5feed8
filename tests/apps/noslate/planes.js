'use strict';

// Fakes of Noslate's data plane and control plane, for tests of a client of theirs:
//
//   node planes.js --data PATH [--control PATH] [switches]
//   node planes.js --control PATH --hand-to PATH[,PATH…]     a control plane of its own, which can be killed alone
//
// They speak what the real ones speak (proto/), on the server library that the real ones are built on and in its
// version (@grpc/grpc-js 1.8.8), and have their habits (data_plane.js, control_plane.js). On Node 20, HTTP/2 has a
// limit of resets: a client that resets some 1000 calls in a burst loses the connection. What functions do is in
// functions.js; they run in here, there are no workers.
//
//   --id N                number of the plane, as in dp-N.sock (0); it is in every event
//   --accept-all          functions need no profile, their name says what they do; sets are recorded and ignored
//   --slots N             requests that one function may have at once, others queue (as many as come)
//   --hand-to PATHS       data planes that the control plane tells, separated by commas (that of --data)
//   --refuse-sets N       the control plane fails the first N setFunctionProfile, and answers set: true (0)
//   --warm-after N        the first N snapshots after a set say that no worker is active yet (0)
//   --health TEXT         checkHealth says unhealthy, and TEXT why; `none`: it is unimplemented, as before 0.24.5
//   --quiet               no event but `listening`
//
// What happens is told on stdout, one JSON object a line, with `event`, `plane` (data or control) and `plane_id`:
//
//   listening    socket
//   connections  open: HTTP/2 connections, whenever that changes
//   open         streams: invocations that are open, whenever that changes
//   call         method, request: a unary call
//   host         somebody has connected to Host, and was told host.liveness
//   invoke       id, number, name, first, metadata. id is the requestId, number counts calls; of first's body
//                4 KiB in base64, and body_bytes
//   waiting      id, number, name, before: no slot is free
//   dispatched   id, number, name, cancelled: a worker has it, although it was cancelled in the queue
//   body-end     id, number, name, bytes, messages, largest: of the request's body
//   head-sent    id, number, name
//   failed       id, number, name, error: an error before the head; the call stays open
//   cancelled    id, number, name, phase (queued, running, head-sent, done), code: what the client reset it with
//   slot-leaked  id, number, name, active
//   handed       functions, error: the control plane's set to a data plane
//   misused      id, number, name, message: a switch that makes no sense
//   asked        text: it came on stdin; whatever happened before it was told before it

const fs = require('fs');
const { parseArgs } = require('util');
const { grpc, noslated, limits } = require('./wire');
const { DataPlane } = require('./data_plane');
const { ControlPlane } = require('./control_plane');

const { values: args } = parseArgs({
  options: {
    data: { type: 'string' },
    control: { type: 'string' },
    id: { type: 'string', default: '0' },
    'accept-all': { type: 'boolean', default: false },
    slots: { type: 'string', default: 'Infinity' },
    'hand-to': { type: 'string' },
    'refuse-sets': { type: 'string', default: '0' },
    'warm-after': { type: 'string', default: '0' },
    health: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
});

function number(name) {
  const value = Number(args[name]);
  if (!(value >= 0)) throw new Error(`--${name} ${args[name]} is no number`);
  return value;
}

// A way to tell what happens in one of the planes.
function sayAs(plane) {
  const about = { plane, plane_id: number('id') };
  return (event, facts) => {
    if (args.quiet && event !== 'listening') return;
    process.stdout.write(`${JSON.stringify({ event, ...about, ...facts })}\n`);
  };
}

// What subscribers are told at once, and all that they are told.
function addHost(server, say) {
  server.addService(noslated.Host.service, {
    connect(call) {
      const timestamp = Math.floor(Date.now() / 1000);
      const data = { typeUrl: 'noslated.LivenessProbeEventData', data: Buffer.alloc(0) };
      call.write({ timestamp, events: [{ name: 'host.liveness', data }] });
      call.on('data', () => {});
      call.on('end', () => call.end());
      say('host');
    },
  });
}

function listen(server, socket, say) {
  // Somebody who was killed has left it.
  fs.rmSync(socket, { force: true });
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
    server.start();
    let open = 0;
    for (const { server: http2 } of server.http2ServerList) {
      http2.on('session', (session) => {
        say('connections', { open: (open += 1) });
        session.once('close', () => say('connections', { open: (open -= 1) }));
      });
    }
    say('listening', { socket });
  });
}

if (!args.data && !args.control) throw new Error('one of --data PATH and --control PATH is needed');
const health = args.health === 'none' ? undefined : { health: args.health === undefined, reason: args.health ?? '' };

function start(name, socket, plane) {
  const server = new grpc.Server(limits);
  const say = sayAs(name);
  plane(say).addTo(server);
  addHost(server, say);
  listen(server, socket, say);
}

if (args.data) {
  const switches = { path: args.data, acceptAll: args['accept-all'], slots: number('slots'), health };
  start('data', args.data, (say) => new DataPlane({ say, ...switches }));
}
if (args.control) {
  const planes = (args['hand-to'] ?? args.data ?? '').split(',').filter((path) => path !== '');
  const switches = { planes, refuse: number('refuse-sets'), warmAfter: number('warm-after'), health };
  start('control', args.control, (say) => new ControlPlane({ say, ...switches }));
}
process.stdin.on('data', (text) => {
  process.stdout.write(`${JSON.stringify({ event: 'asked', text: text.toString() })}\n`);
});
process.on('SIGTERM', () => process.exit(0));
