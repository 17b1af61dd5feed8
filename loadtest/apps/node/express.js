// Express, as its own documentation writes it. PORT may be a number or the path of a Unix socket.
const express = require('express');
const app = express();

app.get('/', (request, response) => response.send('hello\n'));
app.get('/json', (request, response) => response.json({ hello: 'world' }));
app.post('/json', express.json(), (request, response) => response.json(request.body));
app.get('/download', (request, response) => response.send(Buffer.alloc(Number(request.query.bytes))));
app.post('/upload', (request, response) => {
  let bytes = 0;
  request.on('data', (chunk) => { bytes += chunk.length; });
  request.on('end', () => response.json({ bytes }));
});

app.listen(process.env.PORT || 3000);
