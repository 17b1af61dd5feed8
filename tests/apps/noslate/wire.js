'use strict';

// The wire: services as the .proto files describe them, and what server and client need to speak of them.

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(['data.proto', 'control.proto'], {
  includeDirs: [path.join(__dirname, 'proto')],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});

// Both ways, prefix and protobuf included; what the real planes and their SDK set.
const MESSAGE_BYTES_MAX = 10 << 20;

const limits = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
};

// A client of `service` on a socket; one that loses its server looks for it again soon.
function connect(service, socket) {
  return new service(`unix:${socket}`, grpc.credentials.createInsecure(), {
    ...limits,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    // Else clients of one process share a connection.
    'grpc.use_local_subchannel_pool': 1,
  });
}

// [[name, value], …] as the wire has it.
const pairs = (list) => list.map(([key, value]) => ({ key, value }));

module.exports = { grpc, noslated: grpc.loadPackageDefinition(definition).noslated, limits, connect, pairs };
