'use strict';

// Asks as `fun local` does, with its own code: `lib/local/http.js` of @alicloud/fun 3.6.24, which
// scripts/setup-tests unpacks beside this file, unchanged.
//
//   node client.js PORT TIMEOUT_S
//
// Each line on stdin is a JSON request, each line on stdout what came of it:
//   {"do":"initialize"} | {"do":"invoke","event":"…"} | {"do":"http","method":"PUT","path":"/x","body":"…"}
// What fun's retries hide is counted below it: requests written, sockets opened, sockets that failed.

const http = require('http');
const Module = require('module');
const net = require('net');
const path = require('path');
const readline = require('readline');

// Only what checks signatures and reads the account's profile needs these two.
const load = Module._load;
Module._load = function (name, ...rest) {
  if (name === '@alicloud/fc2' || name === '../profile') return {};
  return load.call(this, name, ...rest);
};

const seen = { written: 0, dials: 0, failures: [] };
const request = http.request;
http.request = function (...args) {
  seen.written += 1;
  const made = request.apply(this, args);
  // fun's library listens as well; this one only counts.
  made.on('error', (error) => seen.failures.push(error.code || error.message));
  return made;
};
http.globalAgent.createConnection = (...args) => {
  seen.dials += 1;
  return net.createConnection(...args);
};

const fun = require(path.join(__dirname, 'unpacked/lib/local/http.js'));
const [port, timeout] = process.argv.slice(2);
const envs = {
  FC_FUNCTION_NAME: 'sample', FC_MEMORY_SIZE: '512', FC_TIMEOUT: timeout, FC_INITIALIZATION_TIMEOUT: '3',
  FC_INITIALIZER: 'index.initialize', FC_HANDLER: 'index.handler', FC_ACCESS_KEY_ID: 'id', FC_ACCESS_KEY_SECRET: 'secret',
  FC_SECURITY_TOKEN: 'token', FC_REGION: 'cn-hangzhou', FC_ACCOUNT_ID: '1', FC_SERVICE_NAME: 'service',
  FC_SERVICE_LOG_PROJECT: 'project', FC_SERVICE_LOG_STORE: 'store',
};
let number = 0;

function options(asked) {
  number += 1;
  const headers = fun.getFcReqHeaders({}, `fun-${process.pid}-${number}`, envs);
  switch (asked.do) {
    case 'initialize':
      return fun.generateInitRequestOpts({}, port, headers);
    case 'invoke':
      return fun.generateInvokeRequestOpts(port, headers, Buffer.from(asked.event));
    default:
      return fun.generateRequestOpts({ method: asked.method, originalUrl: asked.path, query: {} }, port, headers, Buffer.from(asked.body));
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    const opts = options(asked);
    const answer = await fun.requestUntilServerUp(opts, Number(timeout));
    console.log(JSON.stringify({ id: opts.headers['x-fc-request-id'], status: answer.statusCode, body: answer.body, ...seen }));
  }
  process.exit(0);
}
main();
