'use strict';

// The control plane: knows which functions there are, and tells the data planes.
//
// As the real one it has no memory: started again, it knows no function, and hands that to the data planes as soon
// as it reaches them. It answers `set: true` whatever became of what was set. Environment variables, services and
// inspectors are not its business.

const { grpc, noslated, connect } = require('./wire');

const HANDOVER_MS = 1000;

class ControlPlane {
  // planes: sockets of data planes. refuse: how many sets fail unseen. warmAfter: how many snapshots after a set
  // still say that its workers start.
  constructor({ say, planes, refuse, warmAfter, health }) {
    Object.assign(this, { say, refuse, warmAfter, health });
    this.profiles = [];
    this.envs = [];
    this.snapshots = 0;
    this.links = planes.map((socket) => connect(noslated.data.DataPlane, socket));
    for (const link of this.links) whenever(link, () => this.hand(link));
  }

  addTo(server) {
    const unary = (method, act) => [
      method,
      (call, answer) => {
        this.say('call', { method, request: call.request });
        Promise.resolve(act(call.request)).then((response) => answer(null, response));
      },
    ];
    server.addService(
      noslated.control.ControlPlane.service,
      Object.fromEntries([
        unary('setFunctionProfile', async ({ profiles }) => {
          if (this.refuse > 0) {
            this.refuse -= 1;
            return { set: true };
          }
          this.profiles = profiles;
          this.snapshots = 0;
          await Promise.all(this.links.map((link) => this.hand(link)));
          return { set: true };
        }),
        unary('getFunctionProfile', () => ({ profiles: this.profiles })),
        unary('setPlatformEnvironmentVariables', ({ envs }) => {
          this.envs = envs;
          return { set: true };
        }),
        unary('getWorkerStatsSnapshot', () => ({ brokers: this.snapshot() })),
        ...(this.health ? [unary('checkHealth', () => ({ name: 'control-plane', ...this.health }))] : []),
      ])
    );
  }

  // All that are reserved are started by the set itself.
  snapshot() {
    const isWarm = this.snapshots >= this.warmAfter;
    this.snapshots += 1;
    return this.profiles.map((profile) => {
      const reserved = profile.worker?.reservationCount ?? 0;
      const active = isWarm ? reserved : 0;
      const workers = Array.from({ length: active }, (_, number) => ({ name: `${profile.name}-${number}` }));
      return {
        name: profile.name,
        profile,
        activeWorkerCount: active,
        initiatingWorkerCount: reserved - active,
        workers,
      };
    });
  }

  // The whole set to one data plane; one that is not there gets it when it is back.
  hand(link) {
    const { profiles } = this;
    return new Promise((done) => {
      link.setFunctionProfile({ profiles, mode: 'WAIT' }, { deadline: Date.now() + HANDOVER_MS }, (error) => {
        this.say('handed', { functions: profiles.length, error: error?.details });
        done();
      });
    });
  }
}

// Calls `then` each time `link` has reached its server, for as long as this process lives.
function whenever(link, then) {
  const channel = link.getChannel();
  const look = () => {
    const state = channel.getConnectivityState(true);
    if (state === grpc.connectivityState.READY) then();
    channel.watchConnectivityState(state, Infinity, look);
  };
  look();
}

module.exports = { ControlPlane };
