import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { firewallName, type FirewallFields } from '../support/golden.ts';
import {
  cells,
  clients,
  expected,
  runs,
  type Cell,
  type Client,
  type Environment,
  type Expectation,
} from '../support/packet-cells.ts';
import { asksLoopback, forgetSizes, places, probeOf, probers, surround } from '../support/packet-places.ts';
import { startProber, type Prober } from '../support/prober.ts';
import { isLong, reportFigures } from '../support/rounds.ts';
import { startServer, temporaryDirectory, type Server } from '../support/server.ts';

/** A busy machine takes long about hundreds of questions at once; fewer are asked each time. */
const PATIENCE_MS = 15_000;

/** Which bridge each namespace is on. */
const inside = [
  ['web', 1],
  ['sibling', 1],
  ['other', 2],
  ['plain', 3],
] as const;

/** A directory in which the tools of iptables are those of the legacy variant. */
function legacyTools(): string {
  const directory = temporaryDirectory();
  for (const tool of ['iptables', 'ip6tables'])
    for (const suffix of ['', '-save', '-restore'])
      symlinkSync('/usr/sbin/xtables-legacy-multi', join(directory, `${tool}${suffix}`));
  return directory;
}

async function serverWith(tool: Environment['tool']): Promise<Server> {
  const through = tool === 'nft' ? [] : ['env', `PATH=${legacyTools()}:${process.env['PATH'] ?? ''}`];
  const server = await startServer(['--reconcile', 'off'], { through });
  onTestFinished(async () => {
    for (const path of [
      ...['web4tcp', 'web4udp', 'web6tcp', 'web6udp', 'out1', 'out2', 'six1', 'six2'].map(
        (name) => `nat/${name}`,
      ),
      ...inside.map(([name]) => `links/${name}`),
      ...['br01', 'br02', 'br03'].map((name) => `bridges/${name}`),
      ...inside.map(([name]) => `namespaces/${name}`),
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
  for (const [n, firewall] of [
    [1, {}],
    [2, { isolated: false }],
    [3, null],
  ] as const) {
    const addresses = [`10.1.${n}.254/24`, `fd00:${n}::254/64`];
    await post('bridges', { name: `br0${n}`, addresses, firewall });
    if (n === 3) continue;
    await post('nat', { name: `out${n}`, type: 'masquerade', bridge: `br0${n}` });
    await post('nat', { name: `six${n}`, type: 'masquerade', bridge: `br0${n}`, family: 6 });
  }
  for (const [name, n] of inside) {
    const { four, six } = places[name];
    await post('namespaces', { name });
    const routes = [`10.1.${n}.254`, `fd00:${n}::254`].map((via) => ({ to: 'default', via }));
    const peer = { interface: 'eth0', namespace: name, addresses: [`${four}/24`, `${six}/64`], routes };
    await post('links', { name, type: 'veth', bridge: `br0${n}`, peer });
  }
  for (const protocol of ['tcp', 'udp'])
    for (const family of [4, 6]) {
      const to = { address: family === 4 ? places.web.four : places.web.six, port: '80' };
      await post('nat', { name: `web${family}${protocol}`, type: 'dnat', protocol, port: '8080', to });
    }
  await execa('sh', ['-e', '-c', asksLoopback('web', places.gateway.four)]);
  const started = clients.map(async (name) => [name, await startProber(probers[name])] as const);
  return Object.fromEntries(await Promise.all(started)) as Record<Client, Prober>;
}

/** What is wrong with a cell, if anything, and whether it is by something that was reached. */
async function complaintOf(
  asked: Record<Client, Prober>,
  cell: Cell,
  { reached, why }: Expectation,
): Promise<{ text: string; isLeak: boolean } | null> {
  const { from, to, protocol, family, big } = cell;
  const answer = await asked[from](probeOf(cell));
  const right = protocol === 'icmp' ? 'icmp' : places[to].by;
  if (answer === (reached ? right : null)) return null;
  const what = `${from} to ${to}, ${big ? 'big ' : ''}${protocol}, IPv${family}`;
  return { text: `${what}: ${answer ?? 'nobody'} answers; ${why}`, isLeak: answer !== null };
}

/**
 * Cells that are not as expected. What is not reached is asked again, since the kernel finds out first whether IPv6
 * addresses that have just come are its own; what is reached and should not be is wrong at once.
 */
async function wrongCells(
  asked: Record<Client, Prober>,
  expectation: (cell: Cell) => Expectation,
): Promise<string[]> {
  await forgetSizes();
  // What was begun under other rules may go on, even by UDP from a port that is used again.
  await execa('conntrack', ['-F'], { reject: false });
  const leaks: string[] = [];
  let left = cells();
  let missing: string[] = [];
  const end = performance.now() + PATIENCE_MS;
  for (let turn = 0; left.length > 0 && (turn < 4 || performance.now() < end); turn++) {
    const found = await Promise.all(
      left.map(async (cell) => ({ cell, complaint: await complaintOf(asked, cell, expectation(cell)) })),
    );
    const wrong = found.flatMap(({ cell, complaint }) =>
      complaint === null ? [] : [{ cell, ...complaint }],
    );
    leaks.push(...wrong.filter(({ isLeak }) => isLeak).map(({ text }) => text));
    const absent = wrong.filter(({ isLeak }) => !isLeak);
    left = absent.map(({ cell }) => cell);
    missing = absent.map(({ text }) => text);
  }
  return [...leaks, ...missing];
}

async function runMatrix(environment: Environment, firewalls: FirewallFields[]): Promise<void> {
  await surround(environment);
  const server = await serverWith(environment.tool);
  const asked = await make(server);
  const { stdout: rules } = await execa(`iptables-${environment.tool}-save`);
  expect(rules).toContain('NETNSD-BRIDGE');
  const wrong: string[] = [];
  for (const firewall of firewalls) {
    expect((await server.curl('/bridges/br01', 'PATCH', { firewall })).status).toBe(200);
    const found = await wrongCells(asked, (cell) => expected(cell, firewall, environment));
    wrong.push(...found.map((text) => `${firewallName(firewall)}: ${text}`));
  }
  expect(wrong).toEqual([]);
  reportFigures(
    'Packets go where the fields say',
    `${firewalls.length} combinations, ${firewalls.length * cells().length} cells`,
    JSON.stringify(environment),
  );
}

describe('packets go where the fields of the firewall say, and nowhere else', () => {
  it.each(runs(isLong).map(({ environment, firewalls }) => ({ ...environment, firewalls })))(
    'with $tool, policy $policy, bridge-nf-call-iptables $bridgeFilter, strict rp_filter $strict, rules of both tools $bothTools',
    async ({ firewalls, ...environment }) => {
      await runMatrix(environment, firewalls);
    },
    240_000,
  );
});
