import {
  emptyState,
  firewallKey,
  ruleKey,
  type Device,
  type DeviceRef,
  type Firewall,
  type KernelState,
  type Sysctl,
} from '../../src/kernel/state.ts';
import { baseOf } from '../../src/plan/link-types.ts';
import type { Step, StepOf } from '../../src/kernel/step.ts';
import type { ForeignMarks } from '../../src/schemas/adoption.ts';
import { familyOf, networkOf } from '../../src/schemas/address.ts';
import type { Route } from '../../src/schemas/interface.ts';
import { refText } from '../../src/schemas/common.ts';
import { optionsAfterMove } from '../../src/plan/end.ts';
import { DEFAULT_TX_QUEUE_LENGTH, shownOptions, type DeviceOptions } from '../../src/schemas/end.ts';
import { interfaceOfSysctl } from '../../src/schemas/nat.ts';
import { familyOfRoute, routeKey } from '../../src/schemas/route.ts';

/**
 * A model of what the kernel makes of steps, with the habits that plans must reckon with: routes go when a device
 * goes down or loses its last address, a move takes nearly everything, a name that is taken is refused.
 */
export class KernelModel {
  readonly state: KernelState = emptyState();
  /** What was in a sysctl before anything was written. */
  readonly #defaults = new Map<string, string>();

  constructor(state?: KernelState) {
    if (state !== undefined) Object.assign(this.state, structuredClone(state));
  }

  setDefault(namespace: string, key: string, value: string): void {
    this.#defaults.set(`${namespace} ${key}`, value);
  }

  apply(steps: readonly Step[]): void {
    for (const step of steps) this.#applyOne(step);
  }

  #applyOne(step: Step): void {
    const { state } = this;
    switch (step.step) {
      case 'namespace.add':
        if (state.namespaces.has(step.namespace)) throw new Error(`namespace ${step.namespace} is there`);
        state.namespaces.set(step.namespace, {
          serves: step.serves,
          name: step.namespace,
          origin: step.pid === null ? { type: 'made' } : { type: 'adopted', pid: step.pid, inode: step.pid },
          loopbackUp: step.pid === null ? false : null,
        });
        return;
      case 'namespace.delete':
        this.#deleteNamespace(step.namespace);
        return;
      case 'namespace.identify':
        this.#needNamespace(step.namespace);
        return;
      case 'loopback.up':
        this.#needNamespace(step.namespace).loopbackUp = true;
        return;
      case 'bridge.add': {
        const { stp, ageingSeconds } = step;
        this.#addDevice(refText(step.serves), step, step.device, { type: 'bridge', stp, ageingSeconds });
        return;
      }
      case 'veth.add': {
        const own = this.#keyOf(step, step.device);
        const [near, far] = own;
        this.#addDevice(near, step, step.device, { type: 'veth', peer: far }).master = step.master;
        this.#addDevice(far, { ...step, ...step.peer }, step.peer, { type: 'veth', peer: near });
        if (step.master !== null) this.#find({ namespace: step.device.namespace, name: step.master });
        return;
      }
      case 'macvlan.add': {
        const { mode, parent } = step;
        this.#needBase(parent);
        this.#addSingle(
          step,
          mode === 'passthru' ? '' : step.mac,
          { type: 'macvlan', mode, parent },
          INHERITED_MTU,
        );
        return;
      }
      case 'vxlan.add': {
        const { id, remote, group, port, by } = step;
        if (by !== null) this.#needBase({ namespace: step.device.namespace, name: by });
        this.#addSingle(step, step.mac, { type: 'vxlan', id, remote, group, port, by }, INHERITED_MTU);
        return;
      }
      case 'tap.add': {
        const { owner, group, maker } = step;
        const { namespace } = step.device;
        const device = { namespace, name: maker };
        this.#addSingle({ ...step, device }, '', { type: 'tun', owner, group, maker }, 1500);
        return;
      }
      case 'tap.name': {
        this.#needFree(step.device);
        const device = this.#find({ namespace: step.device.namespace, name: step.maker });
        Object.assign(device, { name: step.device.name, mac: step.mac });
        return;
      }
      case 'device.delete':
        this.#deleteDevice(this.#find(step.device));
        return;
      case 'device.move': {
        const device = this.#find(step.device);
        this.#needFree(step.to);
        this.#forgetSysctls(device.key);
        for (const other of this.#standingOn(device)) moveBase(other, step.to);
        Object.assign(device, { ...step.to, master: null, up: false, addresses: [], routes: [] });
        device.options = optionsAfterMove(withoutFlags(device));
        return;
      }
      case 'device.rename': {
        const device = this.#find(step.device);
        if (device.up) throw new Error(`${device.name} is up`);
        this.#needFree({ namespace: device.namespace, name: step.name });
        for (const port of state.devices.values())
          if (port.namespace === device.namespace && port.master === device.name) port.master = step.name;
        const sysctls = this.#forgetSysctls(device.key);
        for (const { namespace, key, value } of sysctls)
          this.#setSysctl(namespace, key.replace(`.${device.name}.`, `.${step.name}.`), value, {
            device: device.key,
            name: step.name,
          });
        for (const other of this.#standingOn(device))
          moveBase(other, { namespace: device.namespace, name: step.name });
        device.name = step.name;
        return;
      }
      case 'rule.add':
      case 'rule.delete':
      case 'chain.set':
      case 'chain.delete':
        this.#changeFirewall(step);
        return;
      case 'flows.delete':
      case 'flows.deleteFrom':
        this.#needNamespace(step.namespace);
        return;
      case 'sysctl.set':
        this.#setSysctl(step.namespace, step.key, step.value, this.#ownerOf(step));
        return;
      default:
        this.#changeDevice(this.#find(step.device), step);
    }
  }

  #changeDevice(device: Device, step: Exclude<Step, { namespace: string }> & { device: DeviceRef }): void {
    switch (step.step) {
      case 'device.up':
        device.up = true;
        return;
      case 'device.down':
        Object.assign(device, {
          up: false,
          routes: [],
          addresses: device.addresses.filter((each) => familyOf(each) === 4),
        });
        return;
      case 'device.mtu':
        device.mtu = step.mtu;
        return;
      case 'device.mac':
        device.mac = step.mac;
        return;
      case 'device.queue':
        device.options = { ...device.options, txQueueLength: step.txQueueLength };
        return;
      case 'rate.set':
        if (step.isNew !== (device.options?.rate === undefined))
          throw new Error('a rate is, or is not, there');
        device.options = { ...device.options, rate: { egressKbit: step.egressKbit } };
        return;
      case 'rate.delete':
        if (device.options?.rate === undefined) throw new Error('no rate is there');
        delete device.options.rate;
        return;
      case 'ingress.add':
        if (device.options?.policing !== undefined) throw new Error('a place for filters is there');
        device.options = { ...device.options, policing: { ingressKbit: null } };
        return;
      case 'ingress.delete':
        if (device.options?.policing === undefined) throw new Error('no place for filters is there');
        delete device.options.policing;
        return;
      case 'police.add':
        if (device.options?.policing?.ingressKbit !== null) throw new Error('no free place for a filter');
        device.options = { ...device.options, policing: { ingressKbit: step.ingressKbit } };
        return;
      case 'police.delete':
        if (typeof device.options?.policing?.ingressKbit !== 'number') throw new Error('no filter is there');
        device.options = { ...device.options, policing: { ingressKbit: null } };
        return;
      case 'offload.set':
        device.options = { ...device.options, offload: { checksum: step.checksum } };
        return;
      case 'port.set':
        if (device.master === null) throw new Error(`${device.name} is no port`);
        device.options = {
          ...withoutFlags(device, {
            isolatedPort: step.isolated !== undefined,
            hairpin: step.hairpin !== undefined,
          }),
          ...(step.isolated === true ? { isolatedPort: true } : {}),
          ...(step.hairpin === true ? { hairpin: true } : {}),
        };
        return;
      case 'bridge.set':
        device.kind = { type: 'bridge', stp: step.stp, ageingSeconds: step.ageingSeconds };
        return;
      case 'macvlan.set':
        if (device.kind.type === 'macvlan') device.kind = { ...device.kind, mode: step.mode };
        return;
      case 'device.group':
        setMarks(device, { group: step.group });
        return;
      case 'route.protocol':
        setProtocol(device, step.route, step.protocol);
        return;
      case 'port.attach':
        this.#find({ namespace: device.namespace, name: step.master });
        if (device.master !== step.master) device.options = withoutFlags(device);
        device.master = step.master;
        return;
      case 'port.detach':
        device.options = withoutFlags(device);
        device.master = null;
        return;
      case 'address.add':
        if (device.addresses.includes(step.address)) throw new Error(`${step.address} is there`);
        device.addresses = [...device.addresses, step.address];
        return;
      case 'address.delete':
        this.#deleteAddress(device, step.address);
        return;
      case 'route.add':
        if (!device.up) throw new Error(`${device.name} is down`);
        if (device.routes.some((route) => routeKey(route) === routeKey(step.route)))
          throw new Error('route is there');
        device.routes = [...device.routes, step.route];
        return;
      case 'route.delete': {
        const left = device.routes.filter((route) => routeKey(route) !== routeKey(step.route));
        if (left.length === device.routes.length) throw new Error('no such route');
        device.routes = left;
        return;
      }
      default:
        throw new Error(`unexpected ${step.step}`);
    }
  }

  /** With promote_secondaries off: the first address of a network takes the others of it along. */
  #deleteAddress(device: Device, address: string): void {
    const at = device.addresses.indexOf(address);
    if (at === -1) throw new Error(`no address ${address}`);
    const isFirst =
      familyOf(address) === 4 &&
      device.addresses.findIndex((each) => familyOf(each) === 4 && networkOf(each) === networkOf(address)) ===
        at;
    device.addresses = device.addresses.filter(
      (each) =>
        each !== address && !(isFirst && familyOf(each) === 4 && networkOf(each) === networkOf(address)),
    );
    if (familyOf(address) === 4 && !device.addresses.some((each) => familyOf(each) === 4))
      device.routes = device.routes.filter((route) => familyOfRoute(route) !== 4);
  }

  #changeFirewall(step: Extract<Step, { family: 4 | 6; step: `${'chain' | 'rule'}.${string}` }>): void {
    const { namespace, family } = step;
    this.#needNamespace(namespace);
    const key = firewallKey(namespace, family);
    const found: Firewall = this.state.firewalls.get(key) ?? {
      namespace,
      family,
      chains: new Map(),
      rules: new Map(),
    };
    this.state.firewalls.set(key, found);
    if (step.step === 'chain.set') {
      found.chains.set(`${step.chain.table} ${step.chain.name}`, step.chain);
      for (const [id, rule] of found.rules)
        if (rule.table === step.chain.table && rule.chain === step.chain.name) found.rules.delete(id);
    } else if (step.step === 'chain.delete') {
      const { table, name } = step.chain;
      if (!found.chains.delete(`${table} ${name}`)) throw new Error(`no chain ${name}`);
      const left = [
        ...[...found.rules.values()].filter((rule) => rule.table === table).map(({ spec }) => spec),
        ...[...found.chains.values()].filter((chain) => chain.table === table).flatMap(({ fixed }) => fixed),
      ];
      if (left.some((spec) => spec.endsWith(`-j ${name}`))) throw new Error(`${name} is jumped to`);
      for (const [id, rule] of found.rules)
        if (rule.table === step.chain.table && rule.chain === step.chain.name) found.rules.delete(id);
    } else if (step.step === 'rule.add') {
      const { table, chain } = step.rule;
      if (chain.startsWith('NETNSD-') && !found.chains.has(`${table} ${chain}`))
        throw new Error(`no chain ${chain}`);
      if (found.rules.has(ruleKey(step.rule))) throw new Error('rule is there');
      found.rules.set(ruleKey(step.rule), step.rule);
    } else if (!found.rules.delete(ruleKey(step.rule))) throw new Error('no such rule');
    if (found.chains.size === 0 && found.rules.size === 0) this.state.firewalls.delete(key);
  }

  #setSysctl(namespace: string, key: string, value: string, owner?: Sysctl['owner']): void {
    this.#needNamespace(namespace);
    const id = `${namespace} ${key}`;
    if (this.#defaults.get(id) === value) this.state.sysctls.delete(id);
    else
      this.state.sysctls.set(id, {
        serves: { kind: 'namespace', name: namespace },
        namespace,
        key,
        value,
        before: null,
        ...(owner === undefined ? {} : { owner }),
      });
  }

  /** The values of its sysctls go with a device, or come back by another name. */
  /** Like the kernel, it has none where there is no such interface. */
  #ownerOf({ namespace, key, device }: StepOf<'sysctl.set'>): Sysctl['owner'] {
    const name = device?.name ?? interfaceOfSysctl(key);
    return name === null ? undefined : { device: this.#find({ namespace, name }).key, name };
  }

  #forgetSysctls(device: string): Sysctl[] {
    const own = [...this.state.sysctls].filter(([, { owner }]) => owner?.device === device);
    for (const [id] of own) this.state.sysctls.delete(id);
    return own.map(([, sysctl]) => sysctl);
  }

  #deleteNamespace(name: string): void {
    if (!this.state.namespaces.delete(name)) throw new Error(`no namespace ${name}`);
    for (const device of this.state.devices.values())
      if (device.namespace === name) this.#deleteDevice(device);
    for (const [key, { namespace }] of this.state.firewalls)
      if (namespace === name) this.state.firewalls.delete(key);
    for (const [key, { namespace }] of this.state.sysctls)
      if (namespace === name) this.state.sysctls.delete(key);
  }

  /** With it goes what stands on it, and a bridge loses its ports. */
  #deleteDevice(device: Device): void {
    this.state.devices.delete(device.key);
    this.#forgetSysctls(device.key);
    for (const other of this.#standingOn(device)) this.#deleteDevice(other);
    for (const port of this.state.devices.values())
      if (port.namespace === device.namespace && port.master === device.name) {
        port.options = withoutFlags(port);
        port.master = null;
      }
    const peer = device.kind.type === 'veth' ? this.state.devices.get(device.kind.peer) : undefined;
    if (peer !== undefined) this.#deleteDevice(peer);
  }

  #standingOn({ namespace, name }: DeviceRef): Device[] {
    return [...this.state.devices.values()].filter((device) => {
      const base = baseOf(device);
      return base !== null && base.namespace === namespace && base.name === name;
    });
  }

  /** What is somebody else's is always there. */
  #needBase(base: DeviceRef): void {
    if (!base.name.startsWith('eth')) this.#find(base);
  }

  #addSingle(
    step: { serves: Device['serves']; device: DeviceRef },
    mac: string,
    kind: Device['kind'],
    mtu: number,
  ): void {
    this.#addDevice(`${refText(step.serves)} own`, { serves: step.serves, mac, mtu }, step.device, kind);
  }

  #addDevice(
    key: string,
    { serves, mac, mtu }: { serves: Device['serves']; mac: string; mtu: number },
    at: DeviceRef,
    kind: Device['kind'],
  ): Device {
    this.#needNamespace(at.namespace);
    this.#needFree(at);
    const { namespace, name } = at;
    const device: Device = {
      key,
      serves,
      namespace,
      name,
      mac,
      mtu,
      up: false,
      master: null,
      addresses: [],
      routes: [],
      kind,
    };
    this.state.devices.set(key, device);
    return device;
  }

  /** Which end of a link the step calls its device is told by the plan's own keys: the ends' MAC addresses differ. */
  #keyOf(step: Step & { step: 'veth.add' }, _device: DeviceRef): [near: string, far: string] {
    const own = `${refText(step.serves)} own`;
    const peer = `${refText(step.serves)} peer`;
    return step.mac.startsWith('02:00') ? [own, peer] : [peer, own];
  }

  #find({ namespace, name }: DeviceRef): Device {
    const found = [...this.state.devices.values()].find(
      (device) => device.namespace === namespace && device.name === name,
    );
    if (found === undefined) throw new Error(`no device ${name} in ${namespace}`);
    return found;
  }

  #needFree({ namespace, name }: DeviceRef): void {
    if (
      [...this.state.devices.values()].some(
        (device) => device.namespace === namespace && device.name === name,
      )
    )
      throw new Error(`${name} in ${namespace} is taken`);
  }

  #needNamespace(name: string): { loopbackUp: boolean | null } {
    const found = name === 'host' ? { loopbackUp: null } : this.state.namespaces.get(name);
    if (found === undefined) throw new Error(`no namespace ${name}`);
    return found;
  }
}

/** What a device has when it is no port any more, or what is left when some flags are about to be set. */
function withoutFlags(
  { options = {} }: Device,
  which: { isolatedPort: boolean; hairpin: boolean } = { isolatedPort: true, hairpin: true },
): DeviceOptions {
  const { isolatedPort, hairpin, ...rest } = options;
  return {
    ...rest,
    ...(isolatedPort === true && !which.isolatedPort ? { isolatedPort } : {}),
    ...(hairpin === true && !which.hairpin ? { hairpin } : {}),
  };
}

function moveBase(device: Device, to: DeviceRef): void {
  if (device.kind.type === 'macvlan') device.kind = { ...device.kind, parent: to };
  else if (device.kind.type === 'vxlan') device.kind = { ...device.kind, by: to.name };
}

/** Whatever it is that the kernel takes over from what it stands on. */
const INHERITED_MTU = 9000;

function setMarks(device: Device, marks: Partial<ForeignMarks>): void {
  const foreign: ForeignMarks = { index: 0, group: null, routes: [], ...device.foreign, ...marks };
  if (foreign.group === null && foreign.routes.length === 0) delete device.foreign;
  else device.foreign = foreign;
}

function setProtocol(device: Device, route: Route, protocol: string | null): void {
  if (!device.routes.some((each) => routeKey(each) === routeKey(route))) throw new Error('no such route');
  const others = (device.foreign?.routes ?? []).filter((each) => routeKey(each.route) !== routeKey(route));
  setMarks(device, { routes: protocol === null ? others : [...others, { route, protocol }] });
}

const defaultOptions: DeviceOptions = { txQueueLength: DEFAULT_TX_QUEUE_LENGTH, offload: { checksum: true } };

/** What counts when two states are compared: not whom a thing serves, nor the order of sets. */
export function essence(state: KernelState): unknown {
  return {
    namespaces: [...state.namespaces.values()]
      .map(({ name, loopbackUp }) => `${name} ${loopbackUp}`)
      .toSorted(),
    devices: [...state.devices.values()]
      .map(({ serves: _serves, ...device }) => ({
        ...device,
        options: shownOptions({ ...defaultOptions, ...device.options }),
        policing: device.options?.policing ?? null,
        addresses: device.addresses.toSorted(),
        routes: device.routes.map(routeKey).toSorted(),
      }))
      .toSorted((a, b) => a.key.localeCompare(b.key)),
    sysctls: [...state.sysctls].map(([id, { value }]) => `${id}=${value}`).toSorted(),
    chains: [...state.firewalls]
      .flatMap(([key, { chains }]) => [...chains.keys()].map((chain) => `${key} ${chain}`))
      .toSorted(),
    rules: [...state.firewalls]
      .flatMap(([key, { rules }]) => [...rules.keys()].map((rule) => `${key} ${rule}`))
      .toSorted(),
  };
}
