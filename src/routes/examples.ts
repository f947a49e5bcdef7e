/** What the API really answers, for OpenAPI and Swagger UI; a test holds each against its schema. */

export const times = {
  revision: 1,
  createdAt: '2026-01-02T03:04:05.678Z',
  updatedAt: '2026-01-02T03:04:05.678Z',
};

export const statistics = {
  rxBytes: 1006,
  rxPackets: 11,
  rxErrors: 0,
  rxDropped: 0,
  txBytes: 1216,
  txPackets: 14,
  txErrors: 0,
  txDropped: 0,
};

const noStatistics = {
  rxBytes: 0,
  rxPackets: 0,
  rxErrors: 0,
  rxDropped: 0,
  txBytes: 0,
  txPackets: 0,
  txErrors: 0,
  txDropped: 0,
};

export const namespaceExamples = {
  create: { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' }, labels: { app: 'web' } },
  patch: { labels: { app: 'web', tier: 'front' } },
  resource: {
    name: 'blue',
    pid: null,
    sysctls: { 'net.ipv4.ip_forward': '1' },
    labels: { app: 'web' },
    ...times,
    status: {
      state: 'ready',
      message: null,
      inode: 4026532598,
      path: '/run/netns/blue',
      interfaces: [
        {
          index: 1,
          name: 'lo',
          type: 'loopback',
          mac: '00:00:00:00:00:00',
          mtu: 65536,
          up: true,
          operstate: 'unknown',
          addresses: ['127.0.0.1/8', '::1/128'],
          bridge: null,
          statistics: noStatistics,
        },
      ],
    },
  },
};

export const bridgeExamples = {
  create: { name: 'br00', addresses: ['10.1.1.3/24'] },
  patch: { ageingSeconds: 60 },
  resource: {
    name: 'br00',
    interface: 'br00',
    namespace: 'host',
    addresses: ['10.1.1.3/24'],
    routes: [],
    stp: false,
    ageingSeconds: 300,
    subnets: ['10.1.1.0/24'],
    reserved: ['10.1.1.200-10.1.1.255'],
    dns: [],
    mtu: 1500,
    mac: null,
    up: true,
    firewall: null,
    labels: {},
    ...times,
    status: {
      state: 'ready',
      message: null,
      index: 3,
      mac: '6e:8e:92:90:53:3f',
      mtu: 1500,
      up: true,
      operstate: 'up',
      addresses: ['10.1.1.3/24'],
      statistics,
      bridgeId: '8000.6e8e9290533f',
      stp: false,
      ports: ['veth00'],
      subnets: [{ subnet: '10.1.1.0/24', gateway: '10.1.1.3' }],
    },
  },
};

export const leasesExample = {
  items: [
    {
      address: '10.1.1.2',
      subnet: '10.1.1.0/24',
      link: 'veth00',
      end: 'peer',
      interface: 'veth10',
      namespace: 'blue',
      since: '2026-01-02T03:04:05.678Z',
    },
  ],
};

export const natExamples = {
  create: {
    name: 'br00-out',
    type: 'masquerade',
    source: '10.1.1.0/24',
    inInterface: 'br00',
    outInterface: 'ens33',
  },
  patch: { forward: 'any' },
  resource: {
    name: 'br00-out',
    type: 'masquerade',
    namespace: 'host',
    source: '10.1.1.0/24',
    inInterface: 'br00',
    outInterface: 'ens33',
    forward: 'established',
    labels: {},
    ...times,
    status: {
      state: 'ready',
      message: null,
      packets: 3,
      bytes: 252,
      rules: [
        '-A NETNSD-SNAT -s 10.1.1.0/24 -o ens33 -m comment --comment "netnsd:nat/br00-out:7f4f7ac12f0e" -j MASQUERADE',
        '-A NETNSD-GUARD -d 10.1.1.0/24 -m comment --comment "netnsd:nat/br00-out:0ad1c7d9be52" -j DROP',
      ],
    },
  },
};

export const dryRunExample = {
  commands: [
    'ip link add name br00 group 20851 mtu 1499 address 6e:8e:92:90:53:3f type bridge stp_state 0 ageing_time 30000',
  ],
  changes: [{ action: 'create', kind: 'bridge', name: 'br00' }],
};

export const operationExample = {
  id: '42',
  action: 'create',
  kind: 'namespace',
  name: 'blue',
  actor: '127.0.0.1 port 51234',
  requestId: '0192b3c4-5d6e-7f80-9a1b-2c3d4e5f6071',
  state: 'succeeded',
  undone: true,
  problem: null,
  commands: [
    { command: 'ip netns add blue', exitCode: 0, stderr: '' },
    { command: 'ip netns set blue auto', exitCode: 0, stderr: '' },
    { command: 'ip -n blue link set dev lo up', exitCode: 0, stderr: '' },
  ],
  processes: 2,
  startedAt: '2026-01-02T03:04:05.678Z',
  durationMs: 12.5,
};

export const reconcileExample = {
  ...operationExample,
  id: '43',
  action: 'reconcile',
  kind: null,
  name: null,
  commands: [{ command: 'ip link set dev br00 mtu 1500', exitCode: 0, stderr: '' }],
};

export const driftExample = {
  items: [
    {
      resource: { kind: 'bridge', name: 'br00', href: '/bridges/br00' },
      state: 'drifted',
      message: null,
      differences: [{ path: '/mtu', intended: 1500, observed: 1400 }],
    },
  ],
  unrecorded: [],
  resources: 4,
  startedAt: '2026-01-02T03:04:05.678Z',
  durationMs: 9.25,
  processes: 3,
};
