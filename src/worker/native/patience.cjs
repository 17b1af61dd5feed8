// Node closes a connection that has rested for 5 s, and says so to nobody; its other end may be about to send a
// request then. Who connects to a worker is warmfront alone, and it closes what it does not need. A server whose
// program has set another time keeps it.
'use strict';
const { Server } = require('net');
const NODES_OWN = 5000;
const { listen } = Server.prototype;
Server.prototype.listen = function (...where) {
  if (this.keepAliveTimeout === NODES_OWN) this.keepAliveTimeout = 0;
  return listen.apply(this, where);
};
