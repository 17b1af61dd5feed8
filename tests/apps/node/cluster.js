'use strict';

// The cluster sample of Node's documentation: forked processes share one port through their parent.

const cluster = require('node:cluster');

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i += 1) {
    cluster.fork();
  }
  process.on('SIGTERM', () => process.exit(0));
} else {
  require('./express.js');
}
