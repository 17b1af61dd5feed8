// A fixed port and nothing to configure; says what it sees of each connection.
require('http')
    .createServer((request, response) => {
        const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
        response.end(JSON.stringify({
            pid: process.pid, peer: [remoteAddress, remotePort], own: [localAddress, localPort],
        }));
    })
    .listen(9000, function () { console.log('bound', JSON.stringify(this.address())); });
