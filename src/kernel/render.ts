import { HOST } from '../schemas/common.ts';
import { familyOf, type Family } from '../schemas/address.ts';
import { CommandFailed } from './errors.ts';
import { flowFilter, flowFilterFrom, type Flows } from './flows.ts';
import { DEVICE_GROUP, POLICE_PREF, RATE_HANDLE, ROUTE_PROTOCOL, namespacePath } from './marks.ts';
import type { DeviceRef, Table } from './state.ts';
import type { Step, StepName, StepOf } from './step.ts';
import { bridgeOptions, onOff, policeTokens, routeTokens, shaperTokens, vxlanOptions } from './tokens.ts';

/** A step as its tool takes it. */
export type Rendered =
  | { tool: 'ip'; namespace: string; line: string }
  | { tool: 'iptables'; namespace: string; family: Family; table: Table; lines: string[] }
  | { tool: 'tc'; namespace: string; line: string }
  | { tool: 'ethtool'; namespace: string; args: string[] }
  | { tool: 'conntrack'; namespace: string; flows: Flows }
  | { tool: 'sysctl'; namespace: string; key: string; value: string };

/** The step as its tool takes it; throws if a value could be read as anything but itself. */
export function render(step: Step): Rendered {
  // The table is complete by its type; the compiler can't see that key and value belong together.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  const renderer = renderers[step.step] as (step: Step) => Rendered;
  return renderer(step);
}

/** The command that a person would type for the step. */
export function printCommand(rendered: Rendered): string[] {
  const inside = rendered.namespace === HOST ? '' : `ip netns exec ${rendered.namespace} `;
  switch (rendered.tool) {
    case 'ip':
      return [`ip ${rendered.namespace === HOST ? '' : `-n ${rendered.namespace} `}${rendered.line}`];
    case 'tc':
      return [`tc ${rendered.namespace === HOST ? '' : `-n ${rendered.namespace} `}${rendered.line}`];
    case 'ethtool':
      return [`${inside}ethtool ${rendered.args.join(' ')}`];
    case 'sysctl':
      return [`${inside}sysctl -w ${rendered.key}=${quoteForShell(rendered.value)}`];
    case 'conntrack':
      return [printFlows(inside, rendered.flows)];
    case 'iptables':
      return rendered.lines.map(
        (line) =>
          `${inside}${rendered.family === 4 ? 'iptables' : 'ip6tables'} -w -t ${rendered.table} ${asCommand(line)}`,
      );
  }
}

type Renderers = { [K in StepName]: (step: StepOf<K>) => Rendered };

const renderers: Renderers = {
  'namespace.add': ({ namespace, pid }) =>
    ip(HOST, pid === null ? ['netns', 'add', namespace] : ['netns', 'attach', namespace, pid]),
  'namespace.delete': ({ namespace }) => ip(HOST, ['netns', 'delete', namespace]),
  'namespace.identify': ({ namespace }) => ip(HOST, ['netns', 'set', namespace, 'auto']),
  'loopback.up': ({ namespace }) => ip(namespace, ['link', 'set', 'dev', 'lo', 'up']),
  'bridge.add': (step) =>
    ip(step.device.namespace, [
      'link',
      'add',
      ...marked(step.device),
      'mtu',
      step.mtu,
      'address',
      step.mac,
      'type',
      'bridge',
      ...bridgeOptions(step),
    ]),
  'bridge.set': (step) =>
    ip(step.device.namespace, [
      'link',
      'set',
      'dev',
      step.device.name,
      'type',
      'bridge',
      ...bridgeOptions(step),
    ]),
  'veth.add': ({ device, mac, mtu, master, peer }) =>
    ip(device.namespace, [
      'link',
      'add',
      ...marked(device),
      'mtu',
      mtu,
      'address',
      mac,
      ...(master === null ? [] : ['master', master]),
      'type',
      'veth',
      'peer',
      ...marked(peer),
      'mtu',
      peer.mtu,
      'address',
      peer.mac,
      ...(peer.namespace === device.namespace ? [] : ['netns', namespacePath(peer.namespace)]),
    ]),
  'macvlan.add': ({ device, mac, mode, parent }) =>
    ip(parent.namespace, [
      'link',
      'add',
      'link',
      parent.name,
      ...marked(device),
      // In passthru mode it has that of its parent, whatever is given here.
      ...(mac === '' ? [] : ['address', mac]),
      ...(parent.namespace === device.namespace ? [] : ['netns', namespacePath(device.namespace)]),
      'type',
      'macvlan',
      'mode',
      mode,
    ]),
  'macvlan.set': ({ device, mode }) => setDevice(device, ['type', 'macvlan', 'mode', mode]),
  'vxlan.add': ({ device, mac, ...options }) =>
    ip(device.namespace, [
      'link',
      'add',
      ...marked(device),
      'address',
      mac,
      'type',
      'vxlan',
      ...vxlanOptions(options),
    ]),
  'tap.add': ({ device, maker, owner, group }) =>
    ip(device.namespace, [
      'tuntap',
      'add',
      'dev',
      maker,
      'mode',
      'tap',
      ...(owner === null ? [] : ['user', owner]),
      ...(group === null ? [] : ['group', group]),
    ]),
  // The kernel changes the name last of all.
  'tap.name': ({ device, maker, mac }) =>
    setDevice({ ...device, name: maker }, ['group', DEVICE_GROUP, 'address', mac, 'name', device.name]),
  'device.delete': ({ device }) => ip(device.namespace, ['link', 'delete', 'dev', device.name]),
  'device.up': ({ device }) => setDevice(device, ['up']),
  'device.down': ({ device }) => setDevice(device, ['down']),
  'device.mtu': ({ device, mtu }) => setDevice(device, ['mtu', mtu]),
  'device.mac': ({ device, mac }) => setDevice(device, ['address', mac]),
  'device.group': ({ device, group }) => setDevice(device, ['group', group ?? DEVICE_GROUP]),
  'device.rename': ({ device, name }) => setDevice(device, ['name', name]),
  'device.move': ({ device, to }) =>
    setDevice(device, [
      'netns',
      namespacePath(to.namespace),
      ...(to.name === device.name ? [] : ['name', to.name]),
    ]),
  'device.queue': ({ device, txQueueLength }) => setDevice(device, ['txqueuelen', txQueueLength]),
  'port.set': ({ device, isolated, hairpin }) =>
    setDevice(device, ['type', 'bridge_slave', ...onOff('isolated', isolated), ...onOff('hairpin', hairpin)]),
  // Never `replace`: it would take away what others have put there.
  'rate.set': ({ device, egressKbit, mtu, isNew }) =>
    shaper(device, [isNew ? 'add' : 'change'], ['tbf', ...shaperTokens(egressKbit, mtu)]),
  'rate.delete': ({ device }) => shaper(device, ['del'], []),
  'ingress.add': ({ device }) => tc(device, ['qdisc', 'add', 'dev', device.name, 'ingress']),
  'ingress.delete': ({ device }) => tc(device, ['qdisc', 'del', 'dev', device.name, 'ingress']),
  'police.add': ({ device, ingressKbit }) =>
    tc(device, ['filter', 'add', 'dev', device.name, 'ingress', ...policeTokens(ingressKbit)]),
  'police.delete': ({ device }) =>
    tc(device, ['filter', 'del', 'dev', device.name, 'ingress', 'pref', POLICE_PREF]),
  'offload.set': ({ device, checksum }) => ({
    tool: 'ethtool',
    namespace: device.namespace,
    args: ['-K', token(device.name), 'tx', checksum ? 'on' : 'off'],
  }),
  'port.attach': ({ device, master }) => setDevice(device, ['master', master]),
  'port.detach': ({ device }) => setDevice(device, ['nomaster']),
  // RFC 4862 duplicate address detection would keep an address from being bound for a second or two.
  'address.add': ({ device, address }) =>
    ip(device.namespace, [
      'address',
      'add',
      address,
      'dev',
      device.name,
      ...(familyOf(address) === 6 ? ['nodad'] : []),
    ]),
  'address.delete': ({ device, address }) =>
    ip(device.namespace, ['address', 'delete', address, 'dev', device.name]),
  'route.add': ({ device, route }) => ip(device.namespace, ['route', 'add', ...routeTokens(device, route)]),
  'route.delete': ({ device, route }) =>
    ip(device.namespace, ['route', 'delete', ...routeTokens(device, route)]),
  // One message, so that packets find a route at any time.
  'route.replace': ({ device, route }) =>
    ip(device.namespace, ['route', 'replace', ...routeTokens(device, route)]),
  'route.protocol': ({ device, route, protocol }) =>
    ip(device.namespace, ['route', 'replace', ...routeTokens(device, route, protocol ?? ROUTE_PROTOCOL)]),
  'flows.delete': ({ namespace, family, address, ports }) => ({
    tool: 'conntrack',
    namespace,
    flows: { family, address: address === null ? null : token(address), ports },
  }),
  'flows.deleteFrom': ({ namespace, family, network }) => ({
    tool: 'conntrack',
    namespace,
    flows: { family, network: token(network) },
  }),
  'sysctl.set': ({ namespace, key, value }) => ({ tool: 'sysctl', namespace, key, value }),
  'chain.set': ({ namespace, family, chain }) =>
    iptables(namespace, family, chain.table, [
      `:${token(chain.name)} - [0:0]`,
      ...chain.fixed.map((rule) => `-A ${token(chain.name)} ${ruleSpec(rule)}`),
    ]),
  'chain.delete': ({ namespace, family, chain }) =>
    iptables(namespace, family, chain.table, [`-F ${token(chain.name)}`, `-X ${token(chain.name)}`]),
  'rule.add': ({ namespace, family, rule }) =>
    iptables(namespace, family, rule.table, [`-A ${token(rule.chain)} ${ruleSpec(rule.spec)}`]),
  'rule.delete': ({ namespace, family, rule, number }) =>
    iptables(namespace, family, rule.table, [
      `-D ${token(rule.chain)} ${number === undefined ? ruleSpec(rule.spec) : token(number)}`,
    ]),
};

/** What a device is called, and whose it is: in the command that makes it, so that it is unmarked at no moment. */
function marked({ name }: DeviceRef): string[] {
  return ['name', name, 'group', DEVICE_GROUP];
}

function setDevice(device: DeviceRef, change: (string | number)[]): Rendered {
  return ip(device.namespace, ['link', 'set', 'dev', device.name, ...change]);
}

function shaper(device: DeviceRef, verb: string[], rest: (string | number)[]): Rendered {
  return tc(device, ['qdisc', ...verb, 'dev', device.name, 'root', 'handle', RATE_HANDLE, ...rest]);
}

function tc({ namespace }: DeviceRef, tokens: (string | number)[]): Rendered {
  return { tool: 'tc', namespace, line: tokens.map(token).join(' ') };
}

function ip(namespace: string, tokens: (string | number)[]): Rendered {
  return { tool: 'ip', namespace, line: tokens.map(token).join(' ') };
}

function iptables(namespace: string, family: Family, table: Table, lines: string[]): Rendered {
  return { tool: 'iptables', namespace, family, table, lines };
}

/**
 * The last gate before a tool's own grammar. Names and addresses were checked at the API already; a newline would
 * add a line to the batch, a space a word, and a leading hyphen an option.
 */
export function token(value: string | number): string {
  const text = String(value);
  if (!isToken(text)) throw new UnsafeTokenError(text);
  return text;
}

export function isToken(text: string): boolean {
  return /^[A-Za-z0-9_.:/,@%=][A-Za-z0-9_.:/,@%=-]*$/.test(text);
}

/** The same for a whole rule, which has options and one quoted comment. */
function ruleSpec(spec: string): string {
  if (!/^[A-Za-z0-9_.:/,@%=!" [\]-]+$/.test(spec)) throw new UnsafeTokenError(spec);
  return spec;
}

/**
 * A value that was about to be handed to a tool could be read as something else. Nothing was run. It can only be the name
 * that somebody has given an interface: the kernel takes almost anything (`dev_valid_name` in net/core/dev.c).
 */
export class UnsafeTokenError extends CommandFailed {
  constructor(value: string) {
    const said = `refused to hand ${JSON.stringify(value)} to a tool: it could be read as more than a value. If that is the name of an interface, give it back the one that it had`;
    super('(nothing was run)', null, said, { cause: 'refusal', refusal: 'unprocessable' });
  }
}

/** The same for a line of a batch, whoever put it together: what it asks for is as much a command as what it changes. */
export function batchLine(line: string): string {
  for (const word of line.split(' ')) token(word);
  return `${line}\n`;
}

/** conntrack(8) takes one port at a time. */
function printFlows(inside: string, flows: Flows): string {
  if ('network' in flows) return `${inside}conntrack ${flowFilterFrom(flows).join(' ')}`;
  const command = (port: number | string): string =>
    `${inside}conntrack ${flowFilter(flows, port).join(' ')}`;
  const { first, last } = flows.ports;
  if (first === last) return command(first);
  return `for port in $(seq ${first} ${last}); do ${command('$port')}; done`;
}

function asCommand(line: string): string {
  const chain = /^:(\S+) - \[0:0\]$/.exec(line)?.[1];
  return chain === undefined ? line : `-N ${chain}`;
}

function quoteForShell(value: string): string {
  return /^[A-Za-z0-9_.:/,@%=-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}
