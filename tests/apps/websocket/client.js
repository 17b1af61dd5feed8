// Sends messages of many sizes through one WebSocket and checks each echo; prints what it saw.
const crypto = require('crypto');
const WebSocket = require('ws');

const socket = new WebSocket(process.argv[2], { perMessageDeflate: false });
const sizes = [0, 1, 125, 126, 65535, 65536, 300000, 5 << 20];
const sent = sizes.map((size) => crypto.randomBytes(size));
let seen = 0;

socket.on('open', () => {
  socket.ping('are you there');
  sent.forEach((message) => socket.send(message));
});
socket.on('pong', (data) => console.log(`pong ${data}`));
socket.on('message', (data) => {
  if (!data.equals(sent[seen])) throw new Error(`message ${seen} differs`);
  seen += 1;
  if (seen === sent.length) socket.close(1000, 'done');
});
socket.on('unexpected-response', (request, response) => {
  console.log(`refused ${response.statusCode}`);
  request.destroy();
});
socket.on('close', (code, reason) => console.log(`${seen} echoes, closed ${code} ${reason}`));
socket.on('error', (error) => console.log(`error ${error.message}`));
