// Echoes every WebSocket message in the order in which they came; refuses the path /no.
const http = require('http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end('no socket here\n'));
const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 << 20 });
sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.on('upgrade', (request, socket, head) => {
  if (request.url === '/no') {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit('connection', ws, request));
});
server.listen(process.env.PORT);
