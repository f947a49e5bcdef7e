import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { firewallCombinations, firewallName } from '../support/golden.ts';
import {
  cells,
  expected,
  type Cell,
  type Client,
  type Environment,
  type Target,
} from '../support/packet-cells.ts';
import { startProber, type Prober } from '../support/prober.ts';
import { meanwhile } from '../support/probes.ts';
import { isLong, reportFigures, spread } from '../support/rounds.ts';
import { startServer, temporaryDirectory, type Server } from '../support/server.ts';

const BRIDGE_FILTER = '/proc/sys/net/bridge/bridge-nf-call-ip';

const places: Record<
  Exclude<Target, 'published' | 'localhost'>,
  [four: string, six: string, port: number]
> = {
  web: ['10.1.1.1', 'fd00:1::1', 80],
  sibling: ['10.1.1.2', 'fd00:1::2', 80],
  other: ['10.1.2.1', 'fd00:2::1', 80],
  gateway: ['10.1.1.254', 'fd00:1::254', 9000],
  dns: ['10.1.1.254', 'fd00:1::254', 53],
  host: ['198.51.100.2', '2001:db8:51::2', 9000],
  neighbor: ['198.51.100.1', '2001:db8:51::1', 80],
  far: ['203.0.113.10', '2001:db8:113::10', 80],
};

/** A directory in which the tools of iptables are those of the legacy variant. */
function legacyTools(): string {
  const directory = temporaryDirectory();
  for (const tool of ['iptables', 'ip6tables'])
    for (const suffix of ['', '-save', '-restore'])
      symlinkSync('/usr/sbin/xtables-legacy-multi', join(directory, `${tool}${suffix}`));
  return directory;
}

async function surround({ policy, bridgeFilter, tool }: Environment): Promise<void> {
  const both = (to: string): string =>
    [`iptables`, 'ip6tables'].map((name) => `${name}-${tool} -P FORWARD ${to}`).join(';');
  if (policy === 'DROP') await meanwhile(both('DROP'), both('ACCEPT'));
  const set = (to: string): string =>
    `for f in ${BRIDGE_FILTER}tables ${BRIDGE_FILTER}6tables; do echo ${to} >$f; done`;
  const { stdout } = await execa('cat', [`${BRIDGE_FILTER}tables`]);
  await meanwhile(set(bridgeFilter ? '1' : '0'), set(stdout));
  const ways = [1, 2].flatMap((n) => [
    `10.1.${n}.0/24 via 198.51.100.2`,
    `fd00:${n}::/64 via 2001:db8:51::2`,
  ]);
  const routes = (verb: string): string => ways.map((way) => `ip -n internet route ${verb} ${way}`).join(';');
  await meanwhile(routes('add'), routes('del'));
}

async function serverWith(tool: Environment['tool']): Promise<Server> {
  const through = tool === 'nft' ? [] : ['env', `PATH=${legacyTools()}:${process.env['PATH'] ?? ''}`];
  const server = await startServer(['--reconcile', 'off'], { through });
  onTestFinished(async () => {
    for (const path of [
      'nat/web4tcp',
      'nat/web4udp',
      'nat/web6tcp',
      'nat/web6udp',
      'nat/out1',
      'nat/out2',
      'nat/six1',
      'nat/six2',
      'links/web',
      'links/sibling',
      'links/other',
      'bridges/br01',
      'bridges/br02',
      'namespaces/web',
      'namespaces/sibling',
      'namespaces/other',
    ])
      await server.curl(`/${path}?cascade=true`, 'DELETE');
  });
  return server;
}

async function make({ curl }: Server): Promise<Record<Client, Prober>> {
  const post = async (path: string, body: object): Promise<void> => {
    const answer = await curl(`/${path}`, 'POST', body);
    expect(answer).toMatchObject({ status: 201 });
  };
  for (const n of [1, 2]) {
    const firewall = n === 1 ? {} : { isolated: false };
    await post('bridges', {
      name: `br0${n}`,
      addresses: [`10.1.${n}.254/24`, `fd00:${n}::254/64`],
      firewall,
    });
    await post('nat', { name: `out${n}`, type: 'masquerade', bridge: `br0${n}` });
    await post('nat', { name: `six${n}`, type: 'masquerade', bridge: `br0${n}`, family: 6 });
  }
  for (const name of ['web', 'sibling', 'other'] as const) {
    const [four, six] = places[name];
    const n = name === 'other' ? 2 : 1;
    await post('namespaces', { name });
    const routes = [`10.1.${n}.254`, `fd00:${n}::254`].map((via) => ({ to: 'default', via }));
    const peer = { interface: 'eth0', namespace: name, addresses: [`${four}/24`, `${six}/64`], routes };
    await post('links', { name, type: 'veth', bridge: `br0${n}`, peer });
  }
  for (const protocol of ['tcp', 'udp'])
    for (const family of [4, 6]) {
      const to = { address: places.web[family === 4 ? 0 : 1], port: '80' };
      await post('nat', { name: `web${family}${protocol}`, type: 'dnat', protocol, port: '8080', to });
    }
  const internet = await startProber(
    'internet',
    [80],
    [places.neighbor, places.far].flatMap(([four, six]) => [four, six]),
  );
  return {
    web: await startProber('web', [80]),
    sibling: await startProber('sibling', [80]),
    other: await startProber('other', [80]),
    host: await startProber(null, [53, 9000]),
    neighbor: internet,
    far: internet,
  };
}

async function isReached(
  probers: Record<Client, Prober>,
  { from, to, protocol, family }: Cell,
): Promise<boolean> {
  const at = family === 4 ? 0 : 1;
  const source = from === 'far' ? { source: places.far[at] } : {};
  if (to === 'published' || to === 'localhost')
    return probers[from]({
      protocol,
      host: to === 'localhost' ? '127.0.0.1' : places.host[at],
      port: 8080,
      ...source,
    });
  return probers[from]({ protocol, host: places[to][at], port: places[to][2], ...source });
}

/**
 * Cells that are not as expected. What is not reached is asked again, since the kernel finds out first whether IPv6
 * addresses that have just come are its own; what is reached and should not be is wrong at once.
 */
async function wrongCells(
  probers: Record<Client, Prober>,
  complaint: (cell: Cell, reached: boolean) => string | null,
): Promise<string[]> {
  const leaks: string[] = [];
  let left = cells();
  let missing: string[] = [];
  for (let turn = 0; turn < 4 && left.length > 0; turn++) {
    const answers = await Promise.all(
      left.map(async (cell) => {
        const reached = await isReached(probers, cell);
        return { cell, reached, complaint: complaint(cell, reached) };
      }),
    );
    const wrong = answers.filter((answer) => answer.complaint !== null);
    leaks.push(...wrong.flatMap((answer) => (answer.reached ? [answer.complaint ?? ''] : [])));
    const absent = wrong.filter(({ reached }) => !reached);
    left = absent.map(({ cell }) => cell);
    missing = absent.map((answer) => answer.complaint ?? '');
  }
  return [...leaks, ...missing];
}

async function runMatrix(environment: Environment, most: number): Promise<void> {
  await surround(environment);
  const server = await serverWith(environment.tool);
  const probers = await make(server);
  const { stdout: rules } = await execa(`iptables-${environment.tool}-save`);
  expect(rules).toContain('NETNSD-BRIDGE');
  const combinations = spread(firewallCombinations('br02'), most);
  const wrong: string[] = [];
  for (const firewall of combinations) {
    expect((await server.curl('/bridges/br01', 'PATCH', { firewall })).status).toBe(200);
    const found = await wrongCells(probers, (cell, reached) => {
      const { reached: isToBe, why } = expected(cell, firewall, environment);
      const { from, to, protocol, family } = cell;
      return reached === isToBe
        ? null
        : `${firewallName(firewall)}: ${from} to ${to}, ${protocol}, IPv${family}: ${reached}; ${why}`;
    });
    wrong.push(...found);
  }
  expect(wrong).toEqual([]);
  reportFigures(
    'Packets go where the fields say',
    `${combinations.length * cells().length} cells`,
    JSON.stringify(environment),
  );
}

const environments = (['nft', 'legacy'] as const).flatMap((tool) =>
  (['ACCEPT', 'DROP'] as const).flatMap((policy) =>
    [true, false].map((bridgeFilter): Environment => ({ tool, policy, bridgeFilter })),
  ),
);
// All combinations where most is in the way; of the rest a part, unless the run is long.
const full: Environment = { tool: 'nft', policy: 'DROP', bridgeFilter: true };
const isFull = (environment: Environment): boolean =>
  isLong || JSON.stringify(environment) === JSON.stringify(full);

describe('packets go where the fields of the firewall say, and nowhere else', () => {
  it.each(environments)(
    'with $tool, policy $policy, bridge-nf-call-iptables $bridgeFilter',
    async (environment) => {
      await runMatrix(environment, isFull(environment) ? 40 : 6);
    },
    240_000,
  );
});
