'use strict';

// Fastify as its guide for serverless platforms writes it: the port from PORT, on every address.

const fastify = require('fastify')();

fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));

fastify.get('/', async (request) => ({
  pid: process.pid,
  self: `${request.socket.localAddress}:${request.socket.localPort}`,
  peer: `${request.socket.remoteAddress}:${request.socket.remotePort}`,
}));

fastify.post('/echo', async (request, reply) => reply.send(request.body));

fastify.listen({ port: Number(process.env.PORT) || 3000, host: '0.0.0.0' }).then(
  (address) => console.log(`Server is now listening on ${address}`),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

process.on('SIGTERM', () => fastify.close());
