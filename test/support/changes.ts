/** A request of a test. */
export type Request = [method: 'post' | 'put' | 'patch' | 'delete', path: string, body?: object];

const peer = {
  interface: 'eth0',
  namespace: 'blue',
  addresses: ['10.1.1.1/24', 'fd00::1/64'],
  routes: [{ to: 'default', via: '10.1.1.3' }],
};
export const blue: Request = [
  'post',
  '/namespaces',
  { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } },
];
const red: Request = ['post', '/namespaces', { name: 'red' }];
export const br00: Request = [
  'post',
  '/bridges',
  { name: 'br00', addresses: ['10.1.1.3/24'], routes: [{ to: '10.9.0.0/16', via: '10.1.1.9' }] },
];
export const veth: Request = ['post', '/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer }];

/** Each change of a namespace, bridge or link with what is there before, and how many `ip` processes it takes. */
export const changes: { of: string; before: Request[]; change: Request; processes: number }[] = [
  { of: 'a namespace is made', before: [], change: blue, processes: 2 },
  { of: 'a bridge is made', before: [], change: br00, processes: 1 },
  { of: 'a link is made', before: [blue, br00], change: veth, processes: 2 },
  {
    of: 'a bridge is changed in all its fields',
    before: [br00],
    change: [
      'patch',
      '/bridges/br00',
      {
        interface: 'lan0',
        stp: true,
        ageingSeconds: 60,
        mtu: 1400,
        mac: '02:00:00:00:00:31',
        addresses: ['10.1.1.4/24'],
        routes: [],
      },
    ],
    processes: 1,
  },
  {
    of: 'a link is changed at both ends, and moved',
    before: [blue, red, br00, veth],
    change: [
      'patch',
      '/links/veth00',
      {
        bridge: null,
        mtu: 1400,
        interface: 'uplink9',
        addresses: ['10.5.5.1/24'],
        peer: { namespace: 'red', mac: '02:00:00:00:00:32' },
      },
    ],
    processes: 3,
  },
  {
    of: 'a link is taken down',
    before: [blue, br00, veth],
    change: ['patch', '/links/veth00', { up: false, peer: { up: false } }],
    processes: 2,
  },
  { of: 'a link is deleted', before: [blue, br00, veth], change: ['delete', '/links/veth00'], processes: 1 },
  {
    of: 'a namespace is deleted with what is in it',
    before: [blue, br00, veth],
    change: ['delete', '/namespaces/blue?cascade=true'],
    processes: 1,
  },
];

const uplink: Request = [
  'post',
  '/links',
  { name: 'up0', type: 'veth', peer: { interface: 'up1', namespace: 'red' } },
];
const macvlan: Request = [
  'post',
  '/links',
  { name: 'mac0', type: 'macvlan', parent: 'up0', namespace: 'blue', addresses: ['10.4.0.1/24'] },
];
const vxlan: Request = [
  'post',
  '/links',
  { name: 'vx0', type: 'vxlan', id: 42, remote: '10.1.1.9', bridge: 'br00' },
];
const tap: Request = [
  'post',
  '/links',
  { name: 'tap0', type: 'tap', owner: 1000, group: 1000, bridge: 'br00' },
];
const tapInside: Request = ['post', '/links', { name: 'tap1', type: 'tap', namespace: 'blue' }];

/** The same for links of one end. */
export const singleChanges: { of: string; before: Request[]; change: Request }[] = [
  { of: 'a macvlan is made', before: [blue, red, uplink], change: macvlan },
  {
    of: 'a macvlan is made anew on another parent',
    before: [blue, red, uplink, macvlan],
    change: ['patch', '/links/mac0', { parent: 'up1', parentNamespace: 'red', mtu: 1400 }],
  },
  { of: 'a macvlan is deleted', before: [blue, red, uplink, macvlan], change: ['delete', '/links/mac0'] },
  {
    of: 'a parent is deleted with its macvlan',
    before: [blue, red, uplink, macvlan],
    change: ['delete', '/links/up0?cascade=true'],
  },
  { of: 'a vxlan is made', before: [br00], change: vxlan },
  { of: 'a vxlan is made anew', before: [br00, vxlan], change: ['patch', '/links/vx0', { id: 43 }] },
  { of: 'a vxlan is deleted', before: [br00, vxlan], change: ['delete', '/links/vx0'] },
  { of: 'a tap is made', before: [br00], change: tap },
  { of: 'a tap is made in a namespace', before: [blue], change: tapInside },
  {
    of: 'a tap is made anew in a namespace',
    before: [blue, br00, tap],
    change: ['patch', '/links/tap0', { owner: null, bridge: null, namespace: 'blue' }],
  },
  { of: 'a tap is deleted', before: [br00, tap], change: ['delete', '/links/tap0'] },
];

const out: Request = [
  'post',
  '/nat',
  { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' },
];
const web: Request = [
  'post',
  '/nat',
  {
    name: 'web',
    type: 'dnat',
    protocol: 'tcp',
    port: '8080',
    to: { address: '10.1.1.1', port: '80' },
  },
];
const inner: Request = [
  'post',
  '/nat',
  { name: 'inner', type: 'masquerade', namespace: 'red', source: '10.1.1.0/24', outInterface: 'x0' },
];

const plain: Request = ['post', '/bridges', { name: 'br01', addresses: ['10.1.2.3/24'] }];
const guarded: Request = ['post', '/bridges', { name: 'br00', addresses: ['10.1.1.3/24'], firewall: {} }];

/** The same for rules. */
export const ruleChanges: { of: string; before: Request[]; change: Request }[] = [
  { of: 'the first rule is made', before: [], change: out },
  { of: 'the first rule in a namespace is made', before: [red], change: inner },
  { of: 'another rule is made', before: [out], change: web },
  {
    of: 'a rule is changed',
    before: [out, web],
    change: ['patch', '/nat/out', { forward: 'any', source: '10.2.0.0/16' }],
  },
  { of: 'a rule is deleted', before: [out, web], change: ['delete', '/nat/out'] },
  { of: 'the last rule is deleted, with the chains', before: [out], change: ['delete', '/nat/out'] },
  {
    of: 'a namespace is deleted with its rule',
    before: [red, inner],
    change: ['delete', '/namespaces/red?cascade=true'],
  },
  {
    of: 'a sysctl of a namespace is changed',
    before: [blue],
    change: [
      'patch',
      '/namespaces/blue',
      { sysctls: { 'net.ipv4.ip_forward': null, 'net.ipv4.ip_default_ttl': '33' } },
    ],
  },
  {
    of: 'the first bridge gets a firewall, and its port is isolated',
    before: [blue, br00, veth, plain],
    change: ['patch', '/bridges/br00', { firewall: { intercom: false, inbound: 'any' } }],
  },
  {
    of: 'the firewall of a bridge is taken away, with the chains',
    before: [guarded, plain, web],
    change: ['patch', '/bridges/br00', { firewall: null }],
  },
];

const net: Request = [
  'post',
  '/bridges',
  { name: 'net0', subnets: ['10.7.0.0/24', 'fd07::/64'], dns: ['10.7.0.1'] },
];
const joined: Request = [
  'post',
  '/links',
  {
    name: 'web',
    type: 'veth',
    bridge: 'net0',
    peer: {
      interface: 'eth0',
      namespace: 'blue',
      addresses: ['auto'],
      routes: [{ to: 'default', via: 'auto' }],
    },
  },
];
const published: Request = [
  'post',
  '/nat',
  { name: 'site', type: 'dnat', protocol: 'udp', port: '8053', to: { link: 'web', port: '53' } },
];
const whole = [blue, net, joined, published];

/** The same for what netnsd chooses itself, and what follows it. */
export const networkChanges: { of: string; before: Request[]; change: Request }[] = [
  { of: 'a bridge with subnets is made', before: [], change: net },
  { of: 'a link gets its addresses from its bridge', before: [blue, net], change: joined },
  { of: 'a port of a link is published', before: [blue, net, joined], change: published },
  {
    of: 'a link that is published gets another address',
    before: whole,
    change: ['patch', '/links/web', { peer: { addresses: ['10.7.0.77/24'] } }],
  },
  {
    of: 'a bridge gets other subnets, and a name',
    before: whole,
    change: ['patch', '/bridges/net0', { subnets: ['10.8.0.0/24'], dns: [], interface: 'lan7' }],
  },
  {
    of: 'a port that is published is isolated',
    before: whole,
    change: ['patch', '/bridges/net0', { firewall: { intercom: false, internal: true } }],
  },
  { of: 'a published port is deleted', before: whole, change: ['delete', '/nat/site'] },
  {
    of: 'a bridge with subnets is deleted with all that is on it',
    before: whole,
    change: ['delete', '/bridges/net0?cascade=true'],
  },
];

const options = {
  txQueueLength: 500,
  isolatedPort: true,
  hairpin: true,
  sysctls: { 'ipv4.conf.rp_filter': '2', 'ipv6.conf.addr_gen_mode': '1' },
  rate: { egressKbit: 8000, ingressKbit: 4000 },
  offload: { checksum: false },
};
const farOptions = {
  txQueueLength: 600,
  sysctls: { 'ipv4.conf.rp_filter': '2', 'ipv6.conf.accept_ra': '0' },
  offload: { checksum: false },
};
const noOptions = {
  txQueueLength: null,
  isolatedPort: false,
  hairpin: false,
  sysctls: null,
  rate: null,
  offload: null,
};
const laden: Request = [
  'post',
  '/links',
  { name: 'veth00', type: 'veth', bridge: 'br00', ...options, peer: { ...peer, ...farOptions } },
];

/** The same for the further fields of the ends of a link, which are the business of other tools too. */
export const optionChanges: { of: string; before: Request[]; change: Request }[] = [
  { of: 'a link with all options is made', before: [blue, br00], change: laden },
  {
    of: 'a link gets all options',
    before: [blue, br00, veth],
    change: ['patch', '/links/veth00', { ...options, peer: farOptions }],
  },
  {
    of: 'all options of a link are taken away',
    before: [blue, br00, laden],
    change: [
      'patch',
      '/links/veth00',
      { ...noOptions, peer: { txQueueLength: null, sysctls: null, offload: null } },
    ],
  },
];
