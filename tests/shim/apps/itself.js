// Asks itself before it answers: by name of the loopback, by its address, and in IPv6.
const http = require('http');
const ask = (host) => new Promise((resolve, reject) => {
    http.get({ host, port: 9000, path: '/inner' }, (answer) => {
        const peer = [answer.socket.remoteAddress, answer.socket.remotePort];
        answer.resume().on('end', () => resolve({ pid: +answer.headers.pid, peer }));
    }).on('error', reject);
});
http.createServer(async (request, response) => {
    response.setHeader('pid', process.pid);
    if (request.url === '/inner') return response.end();
    const inner = [];
    for (const host of ['127.0.0.1', '::1', 'localhost']) inner.push(await ask(host));
    const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
    response.end(JSON.stringify({
        pid: process.pid, peer: [remoteAddress, remotePort], own: [localAddress, localPort], inner,
    }));
}).listen(9000);
