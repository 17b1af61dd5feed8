// Fastify. PORT may be a number or the path of a Unix socket.
const fastify = require('fastify')({ bodyLimit: 64 * 1024 * 1024 });

fastify.get('/', async () => 'hello\n');
fastify.get('/json', async () => ({ hello: 'world' }));
fastify.post('/json', async (request) => request.body);
fastify.get('/download', async (request) => Buffer.alloc(Number(request.query.bytes)));
fastify.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (request, body, done) => done(null, body));
fastify.post('/upload', async (request) => ({ bytes: request.body.length }));

const port = process.env.PORT || '3000';
fastify.listen(/^\d+$/.test(port) ? { port: Number(port) } : { path: port });
