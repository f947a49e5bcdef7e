/** The rules of which test/golden/ has those that they make: by the name of the file. */
export type GoldenCases = Record<string, object>;

const outgoing = {
  '': { source: '10.1.1.0/24', inInterface: 'br01' },
  source: { source: '10.1.1.0/24' },
  bridge: { bridge: 'br01' },
};

/** Each way to say what leaves, by each interface or one, with each `forward`; a word in the name for what is said. */
function outgoingCases(type: 'masquerade' | 'snat', more: object): GoldenCases {
  return Object.fromEntries(
    Object.entries(outgoing).flatMap(([by, source]) =>
      ['', 'uplink'].flatMap((out) =>
        ['', 'any', 'none'].map((forward) => {
          const said = [by, out, forward].filter((word) => word !== '');
          const nat = {
            type,
            ...source,
            ...more,
            ...(out === '' ? {} : { outInterface: 'uplink0' }),
            ...(forward === '' ? {} : { forward }),
          };
          return [['nat', type, ...(said.length === 0 ? ['established'] : said)].join('-'), nat];
        }),
      ),
    ),
  );
}

const source6 = { source: 'fd00:1::/64', inInterface: 'br01' };
const toAddress6 = '2001:db8:51::2';
const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1', port: '80' } };
const web6 = { ...web, to: { address: 'fd00:1::1', port: '80' } };
const range = { ...web, port: '8000-8010', to: { address: '10.1.1.1', port: '80-90' } };
const range6 = { ...range, to: { address: 'fd00:1::1', port: '80-90' } };

/**
 * One rule each, in a namespace with br01, br02 and the link `to-blue`. An snat rule differs from a masquerade rule in
 * its target only, and a family from the other in what it has no words for; so of these there are less.
 */
export const natCases: GoldenCases = {
  ...outgoingCases('masquerade', {}),
  'nat-masquerade-bridge-networks': { type: 'masquerade', bridge: 'br03' },
  'nat-masquerade-bridge-ipv6': { type: 'masquerade', bridge: 'br01', family: 6 },
  'nat-masquerade-ipv6': { type: 'masquerade', ...source6 },
  'nat-masquerade-source-ipv6': { type: 'masquerade', source: 'fd00:1::/64' },
  'nat-masquerade-any-ipv6': { type: 'masquerade', ...source6, forward: 'any' },
  'nat-snat': { type: 'snat', ...outgoing[''], toAddress: '198.51.100.2' },
  'nat-snat-bridge': { type: 'snat', bridge: 'br01', toAddress: '198.51.100.2' },
  'nat-snat-source': { type: 'snat', source: '10.1.1.0/24', toAddress: '198.51.100.2' },
  'nat-snat-uplink': {
    type: 'snat',
    ...outgoing[''],
    toAddress: '198.51.100.2',
    outInterface: 'uplink0',
  },
  'nat-snat-any': { type: 'snat', ...outgoing[''], toAddress: '198.51.100.2', forward: 'any' },
  'nat-snat-none': { type: 'snat', ...outgoing[''], toAddress: '198.51.100.2', forward: 'none' },
  'nat-snat-ipv6': { type: 'snat', ...source6, toAddress: toAddress6 },
  'nat-snat-bridge-ipv6': { type: 'snat', bridge: 'br01', family: 6, toAddress: toAddress6 },
  'nat-dnat-tcp': web,
  'nat-dnat-udp': { ...web, protocol: 'udp' },
  'nat-dnat-sctp': { ...web, protocol: 'sctp' },
  'nat-dnat-auto': { ...web, port: 'auto' },
  'nat-dnat-range': range,
  'nat-dnat-range-to-one': { ...web, port: '8000-8010' },
  'nat-dnat-range-address-in-interface': { ...range, address: '198.51.100.2', inInterface: 'uplink0' },
  'nat-dnat-address': { ...web, address: '198.51.100.2' },
  'nat-dnat-in-interface': { ...web, inInterface: 'uplink0' },
  'nat-dnat-localhost': { ...web, address: '127.0.0.1' },
  'nat-dnat-localhost-udp-range': { ...range, protocol: 'udp', address: '127.0.0.1' },
  'nat-dnat-elsewhere': { ...web, to: { address: '10.9.9.9', port: '80' } },
  'nat-dnat-elsewhere-ipv6': { ...web, to: { address: 'fd00:9::9', port: '80' } },
  'nat-dnat-link': { ...web, to: { link: 'to-blue', port: '80' } },
  'nat-dnat-link-localhost': { ...web, address: '127.0.0.1', to: { link: 'to-blue', port: '80' } },
  'nat-dnat-link-ipv6': { ...web, to: { link: 'to-blue', family: 6, port: '80' } },
  'nat-dnat-ipv6': web6,
  'nat-dnat-ipv6-address': { ...web6, address: '2001:db8:51::2' },
  'nat-dnat-ipv6-in-interface': { ...web6, inInterface: 'uplink0' },
  'nat-dnat-ipv6-udp-range': { ...range6, protocol: 'udp' },
};

/** Several together: firewalls of br01 and br02, and rules by their names. */
export interface Together {
  firewalls: Record<string, object>;
  nat: Record<string, object>;
}

const out = { type: 'masquerade', ...outgoing[''] };
const out6 = { type: 'masquerade', ...source6 };

export const togetherCases: Record<string, Together> = {
  together: { firewalls: { br01: {} }, nat: { out, web } },
  'together-ipv6': { firewalls: { br01: {} }, nat: { out: out6, web: web6 } },
  'together-apart-nohost': {
    firewalls: { br01: { intercom: false, hostAccess: false } },
    nat: { out, web },
  },
  'together-internal': { firewalls: { br01: { internal: true } }, nat: { web } },
  'together-any': { firewalls: { br01: { inbound: 'any' } }, nat: { out } },
  'two-isolated': { firewalls: { br01: {}, br02: {} }, nat: {} },
  'two-open': { firewalls: { br01: { isolated: false }, br02: { isolated: false } }, nat: {} },
  'two-open-and-isolated': { firewalls: { br01: { isolated: false }, br02: {} }, nat: {} },
  'two-reach-each-other': {
    firewalls: { br01: { reachableFrom: ['br02'] }, br02: { reachableFrom: ['br01'] } },
    nat: {},
  },
  'two-reached-from-internal': {
    firewalls: { br01: { reachableFrom: ['br02'] }, br02: { internal: true } },
    nat: {},
  },
};
